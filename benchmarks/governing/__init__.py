"""Governance: what an entry of the audit ledger costs."""
