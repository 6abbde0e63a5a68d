"""The tables the judge reads: which name gives which capability, and which indicator means what.

`RULES_VERSION` counts up with every change here or in the code that reads this, so that an index knows which of its
judgements are of today.
"""

import re
import sys
from functools import lru_cache
from typing import Final

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.findings import Capability
from aetherra.plugins.self_incorporation.code.pattern import Pattern

__all__ = [
    "CALLED_BACK",
    "CAPABILITY_WEIGHTS",
    "CLIENTS",
    "COPIERS",
    "CREDENTIAL_PATH",
    "CREDENTIAL_URL",
    "DECODERS",
    "DOWNLOADERS",
    "ENCODERS",
    "ENVIRONMENT_PATH",
    "EXECUTORS",
    "HANDLERS",
    "HOOK_PATH",
    "IDENTITY",
    "INDICATORS",
    "MEMORY",
    "PAYLOAD",
    "PERSONS_FILES",
    "PICKLERS",
    "RECEIVERS",
    "REQUESTS",
    "RESOLVERS",
    "RULES_VERSION",
    "SANITIZERS",
    "SECRETIVE",
    "SECRET_OWNER",
    "SECRET_PATH",
    "SECRET_VARIABLE",
    "SENDERS",
    "SHELL_DROPPER",
    "SHELL_PROGRAM",
    "SHELL_WORDS",
    "STARTUP_PATH",
    "TELLING",
    "UNPICKLERS",
    "Indicator",
    "canonical",
    "capability_of",
]

RULES_VERSION: Final = 6

CAPABILITY_WEIGHTS: dict[Capability, float] = {
    "network": 0.05,
    "fs_read": 0.01,
    "fs_write": 0.03,
    "process": 0.08,
    "dynamic_code": 0.08,
    "native_code": 0.08,
    "environment": 0.02,
    "serialization": 0.04,
}

_CAPABILITIES: dict[Capability, str] = {
    "network": "socket ssl urllib.request http.client http.server socketserver ftplib smtplib poplib imaplib nntplib"
    " telnetlib xmlrpc.client xmlrpc.server requests httpx aiohttp urllib3 websocket websockets paramiko pycurl"
    " asyncio.open_connection asyncio.start_server asyncio.Protocol asyncio.DatagramProtocol"
    " anyio.connect_tcp anyio.create_tcp_listener trio.open_tcp_stream"
    " dns.resolver socks tornado.httpclient _socket flask.request bottle.request paho zmq pika nats kafka boto3"
    " asyncssh discord telegram telebot slack_sdk",
    "fs_read": "os.listdir os.scandir os.walk os.read os.readlink glob linecache fileinput",
    "fs_write": "os.remove os.unlink os.rename os.replace os.mkdir os.makedirs os.rmdir os.removedirs os.chmod os.chown"
    " os.link os.symlink os.truncate os.write shutil.copy shutil.copy2 shutil.copyfile shutil.copytree shutil.move"
    " shutil.rmtree shutil.unpack_archive tempfile winreg.SetValueEx winreg.SetValue",
    "process": "subprocess os.system os.popen os.fork os.forkpty os.posix_spawn os.posix_spawnp os.startfile os.execl"
    " os.execle os.execlp os.execlpe os.execv os.execve os.execvp os.execvpe os.spawnl os.spawnle os.spawnlp"
    " os.spawnlpe os.spawnv os.spawnve os.spawnvp os.spawnvpe os.kill os.killpg pty.spawn pty.fork commands popen2"
    " multiprocessing asyncio.create_subprocess_exec asyncio.create_subprocess_shell anyio.run_process"
    " anyio.open_process trio.run_process pexpect psutil.Popen _posixsubprocess",
    "dynamic_code": "exec eval compile __import__ importlib.import_module runpy code.InteractiveInterpreter"
    " code.InteractiveConsole codeop types.CodeType types.FunctionType importlib.util.spec_from_file_location imp"
    " importlib.metadata.entry_points importlib.metadata.EntryPoint pkg_resources.iter_entry_points"
    " pkg_resources.load_entry_point pkgutil.resolve_name pydoc.locate unittest.mock._importer gc.get_objects"
    " gc.get_referrers gc.get_referents logging.config typing.get_type_hints inspect.get_annotations timeit.timeit"
    " timeit.repeat cProfile.run profile.run pdb.run pdb.runeval _xxsubinterpreters _interpreters"
    " concurrent.interpreters zipimport",
    "native_code": "ctypes _ctypes cffi mmap llvmlite",
    "environment": "os.environ os.environb os.getenv os.putenv os.unsetenv dotenv",
    "serialization": "pickle cPickle _pickle marshal shelve dill cloudpickle joblib.load yaml.load yaml.unsafe_load"
    " jsonpickle pandas.read_pickle torch.load",
}
_CAPABILITY_OF: dict[str, Capability] = {
    name: capability for capability, names in _CAPABILITIES.items() for name in names.split()
}


_SAME = {"posix": "os", "nt": "os", "_io": "io", "__builtin__": "builtins"}
# Modules that others hold under their own names, so that `logging.os.remove` is `os.remove`.
_HELD = frozenset(
    (
        *(
            "builtins",
            "ctypes",
            "importlib",
            "marshal",
            "nt",
            "os",
            "pickle",
            "posix",
            "pty",
            "runpy",
            "shutil",
            "socket",
        ),
        *("_posixsubprocess", "_socket", "subprocess"),
    )
)


@lru_cache(maxsize=8192)
def canonical(name: str) -> str:
    """Return a dotted name as it is told of in the tables, when it goes by another name or through another module.

    What a module of the standard library holds is what it is by itself; of other modules that is taken for true where
    it is a telling function, since they may have files of the same names.
    """
    parts = name.split(".")
    for start in range(len(parts) - 1, 0, -1):
        if parts[start] in _HELD and parts[0]:
            reached = ".".join([_SAME.get(parts[start], parts[start]), *parts[start + 1 :]])
            if parts[0] in sys.stdlib_module_names or reached in TELLING:
                return reached
    return ".".join([_SAME.get(parts[0], parts[0]), *parts[1:]])


@lru_cache(maxsize=8192)
def capability_of(name: str) -> Capability | None:
    """Return the capability a dotted name reaches into, by its longest known beginning."""
    name = canonical(name.replace("()", ""))
    while name:
        if (capability := _CAPABILITY_OF.get(name)) is not None:
            return capability
        name = name.rpartition(".")[0]
    return None


EXECUTORS = frozenset(
    (
        *("exec", "eval", "compile", "types.FunctionType", "types.CodeType", "timeit.timeit", "timeit.repeat"),
        *(
            f"code.Interactive{kind}().{verb}"
            for kind in ("Interpreter", "Console")
            for verb in ("runsource", "runcode")
        ),
        *("cProfile.run", "profile.run", "pdb.run", "pdb.runeval", "trace.Trace().run"),
        *("_xxsubinterpreters.run_string", "_interpreters.exec", "_interpreters.run_string"),
        "concurrent.interpreters.create().exec",
    )
)
# Functions that do a great deal by themselves, so that to hold one under another name is to use it.
TELLING = frozenset(
    ["exec", "eval", "__import__", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn"]
    + [f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen")]
    + ["os.posix_spawn", "os.posix_spawnp", "os.startfile", "os.system"]
    + [f"os.{verb}{how}" for verb in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")]
)
DECODERS = frozenset(
    [f"base64.{name}" for name in ("b64decode", "b32decode", "b16decode", "b85decode", "a85decode")]
    + ["base64.urlsafe_b64decode", "base64.standard_b64decode", "base64.decodebytes", "base64.decodestring"]
    + ["zlib.decompress", "zlib.decompressobj().decompress", "gzip.decompress", "bz2.decompress", "lzma.decompress"]
    + ["codecs.decode", "binascii.unhexlify", "binascii.a2b_base64", "binascii.a2b_hex", "bytes.fromhex"]
    + ["bytearray.fromhex", "cryptography.fernet.Fernet().decrypt"]
)
# What they return is known by what it can do.
CLIENTS = frozenset(
    (
        *("requests.Session", "requests.session", "httpx.Client", "httpx.AsyncClient", "aiohttp.ClientSession"),
        *("urllib3.PoolManager", "urllib.request.build_opener", "urllib.request.URLopener"),
        *("http.client.HTTPConnection", "http.client.HTTPSConnection", "cryptography.fernet.Fernet"),
        *("smtplib.SMTP", "smtplib.SMTP_SSL", "ftplib.FTP", "ftplib.FTP_TLS", "xmlrpc.client.ServerProxy"),
        "concurrent.interpreters.create",
    )
)
_SESSIONS = ("requests.Session", "requests.session", "httpx.Client", "httpx.AsyncClient", "aiohttp.ClientSession")
DOWNLOADERS = frozenset(
    [f"{module}.{verb}" for module in ("requests", "httpx") for verb in ("get", "post", "put", "request")]
    + [f"{session}().{verb}" for session in _SESSIONS for verb in ("get", "post", "put", "request")]
    + ["urllib.request.urlopen", "urllib2.urlopen", "urllib.urlopen", "urllib.request.build_opener().open"]
    + ["urllib3.PoolManager().request", "urllib.request.URLopener().open"]
    + ["socket.create_connection", "asyncio.open_connection", "anyio.connect_tcp", "trio.open_tcp_stream"]
)
RECEIVERS = frozenset(
    ["recv", "recvfrom", "recv_into", "getresponse", "recv_string", "recv_json", "recv_multipart", "recv_pyobj"]
)
# Methods that are called with what the network brought.
CALLED_BACK = frozenset(["data_received", "datagram_received", "on_message", "dataReceived", "eof_received"])
# What stands for what somebody else asks for.
REQUESTS = frozenset(["flask.request", "bottle.request"])
HANDLERS = frozenset(["aetherra.plugins.handler", "aetherra.kernel.handler", "aetherra.kernel.plugin.handler"])
SENDERS = frozenset(
    [f"{module}.{verb}" for module in ("requests", "httpx") for verb in ("get", "post", "put", "patch", "request")]
    + [f"{session}().{verb}" for session in _SESSIONS for verb in ("get", "post", "put", "patch", "request")]
    + ["urllib.request.urlopen", "urllib.request.Request", "socket.gethostbyname", "socket.getaddrinfo"]
    + ["urllib2.urlopen", "urllib2.Request", "http.client.HTTPSConnection().request"]
    + ["http.client.HTTPConnection().request", "urllib3.PoolManager().request", "urllib3.request"]
    + [f"smtplib.{server}().{verb}" for server in ("SMTP", "SMTP_SSL") for verb in ("sendmail", "send_message")]
    + [f"ftplib.{server}().{verb}" for server in ("FTP", "FTP_TLS") for verb in ("storbinary", "storlines")]
    + ["dns.resolver.resolve", "dns.resolver.query"]
)
UNPICKLERS = frozenset(
    [f"{module}.loads" for module in ("pickle", "cPickle", "_pickle", "marshal", "dill", "cloudpickle", "jsonpickle")]
    + ["pickle.load", "pickle.Unpickler", "dill.load", "yaml.unsafe_load", "jsonpickle.decode"]
)
PICKLERS = frozenset(f"{module}.dumps" for module in ("pickle", "cPickle", "_pickle", "marshal", "dill", "cloudpickle"))
RESOLVERS = frozenset(
    [
        "socket.gethostbyname",
        "socket.gethostbyname_ex",
        "socket.getaddrinfo",
        "dns.resolver.resolve",
        "dns.resolver.query",
    ]
)
ENCODERS = frozenset(
    [f"base64.{name}" for name in ("b64encode", "b32encode", "b16encode", "urlsafe_b64encode", "standard_b64encode")]
    + ["binascii.hexlify", "binascii.b2a_hex", "binascii.b2a_base64"]
)
# Who and where the user is, by which machines are told apart once something runs on them.
IDENTITY = frozenset(
    (
        *("getpass.getuser", "os.getlogin", "pwd.getpwuid", "socket.gethostname", "socket.getfqdn", "platform.node"),
        *("os.uname", "platform.uname", "os.getcwd"),
    )
)
# What these return opens a service, and is to be shown to nobody but that.
SECRETIVE = frozenset(
    (
        *("netrc.netrc", "keyring.get_credential", "win32crypt.CryptUnprotectData"),
        *(
            f"browser_cookie3.{browser}"
            for browser in ("load", "chrome", "firefox", "edge", "chromium", "brave", "opera")
        ),
    )
)
MEMORY = frozenset(["gc.get_objects", "gc.get_referrers"])
# What their second argument names is then what their first did.
COPIERS = frozenset(["shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.move", "os.replace", "os.rename"])
# What these return says nothing any more of where their arguments came from.
SANITIZERS = frozenset(["len", "int", "float", "bool", "isinstance", "id", "hash", "type", "os.path.exists"])

STARTUP_PATH = Pattern(
    r"\.(?:bash_?(?:rc|_profile|_login)|profile|zshrc|zprofile|zshenv|config/autostart|config/fish/config)\b"
    r"|\.ssh[/\\]authorized_keys|\.config/systemd/user|(?:site|user)customize\.py|LaunchAgents|LaunchDaemons"
    r"|pip[/\\]pip\.(?:conf|ini)|\.pip[/\\]pip\.conf|\.ipython[/\\]profile_\w{1,40}[/\\]startup|\.ssh[/\\]config$"
    r"|/etc/(?:cron|rc\.local|profile|init\.d|systemd/system|ld\.so\.preload)|CurrentVersion\\+Run\b|/var/spool/cron"
    r"|Start Menu[/\\]+Programs[/\\]+Startup|site-packages[/\\][^/\\]{1,100}\.(?:py|pth)$"
)
CREDENTIAL_PATH = Pattern(
    r"^~[/\\](?:.{0,80}[/\\])?\.env$|\.ssh[/\\](?:id_|\*)|\.aws[/\\](?:credentials|\*)|/etc/shadow|/proc/(?:\*|\d+)/mem$|\.git-credentials|\.docker[/\\]config\.json|(?:^|[~/\\])\.(?:netrc|pypirc|npmrc|pgpass)\b"
    r"|\.kube[/\\]config|\bLogin Data\b|Chrome.{1,80}\bCookies\b|wallet\.dat|\.gnupg|Local Storage[/\\]+leveldb"
    r"|application_default_credentials\.json|\.electrum|\.config[/\\]gcloud|logins\.json|key4\.db"
)
# Where a cloud tells its machines who they are.
CREDENTIAL_URL = Pattern(r"169\.254\.169\.254.{0,80}credentials|metadata\.google\.internal.{0,80}token")
# What opens one service, and is to be shown to nobody but that service.
SECRET_PATH = Pattern(
    r"/var/run/secrets/kubernetes\.io|/etc/passwd\b|[~/\\]\.(?:bash|zsh|python|psql|mysql)_history\b|\.ssh[/\\]known_hosts"
)
ENVIRONMENT_PATH = Pattern(r"/proc/(?:self|\*|\d+)/environ\b")
SECRET_VARIABLE = Pattern(
    r"AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN|AZURE_CLIENT_SECRET|G(?:IT)?H(?:UB)?_TOKEN|GITLAB_TOKEN|CI_JOB_TOKEN|NPM_TOKEN"
    r"|NODE_AUTH_TOKEN|PYPI_(?:API_)?TOKEN|TWINE_PASSWORD|UV_PUBLISH_TOKEN|DOCKER_(?:HUB_)?PASSWORD|OPENAI_API_KEY"
    r"|ANTHROPIC_API_KEY|HF_TOKEN|DATABASE_URL|(?:POSTGRES|PG|MYSQL|DB)_?PASSWORD|DJANGO_SECRET_KEY|VAULT_TOKEN"
)
SECRET_OWNER = Pattern(
    r"github|gitlab|npmjs|pypi|docker|amazonaws|azure|microsoft|google|openai|anthropic|huggingface|\bhf\.co"
    r"|kubernetes|localhost|127\.0\.0\.1|vault"
)
HOOK_PATH = Pattern(r"hooks[/\\](?:pre|post|commit|prepare|applypatch)-?[\w-]*$")
# A home folder as such, or what people keep in it: whatever clears this, clears what is a person's.
PERSONS_FILES = Pattern(
    r"(?:~|%USERPROFILE%|/home|/storage/emulated/0|/sdcard)(?:/(?:Documents|Desktop|DCIM|Pictures|Downloads|Music|Videos|\*)){0,9}|/\*"
)
# Code that fetches or decodes, and runs; in text that is no code of this file.
_FETCHES = r"(?:urlopen|requests\.get|b64decode|b85decode|fromhex|decompress|marshal\.loads)"
PAYLOAD = Pattern(
    rf"\b(?:exec|eval)\s{{0,9}}\(.{{0,160}}\b{_FETCHES}\b|\b{_FETCHES}\b.{{0,200}}[\s;(](?:exec|eval)\s{{0,9}}\(",
    re.DOTALL,
)
# One of these stands in whatever `SHELL_DROPPER` finds.
SHELL_WORDS = (
    *("curl", "wget", "/dev/tcp", "/dev/udp", "nc ", "ncat", "bash", "owershell", "base64", "IEX", "DownloadString"),
    *("mshta", "certutil", ">>", "pip", "schtasks", "reg ", "crontab", "launchctl"),
)
SHELL_DROPPER = Pattern(
    r"\bschtasks(?:\.exe)?\s+/create\b|\breg(?:\.exe)?\s+add\s.{0,200}CurrentVersion\\+Run\b|"
    r"\s(?:-d|--data(?:-\w{1,20})?|-F|--form|-T|--upload-file)[\s=]{1,3}[^\s@]{0,40}@(?:-|\S{0,80}(?:\$HOME|~|/etc/|\.ssh|\.netrc|\.aws|\.env))|"
    r"\bpip3?\s+install\b[^;&|]{0,200}\s(?:git\+)?https?://(?!(?:[\w.]+\.)?(?:pypi\.org|pythonhosted\.org|pytorch\.org|github\.com)\b)|"
    r"(?:curl|wget)\b[^|;&]{0,300}\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b|(?:curl|wget)\b.{0,300}(?:;|&&)\s*chmod\b|/dev/(?:tcp|udp)/|\bnc(?:at)?\b.{0,100}\s-e\s{0,9}\S{0,50}sh"
    r"|bash\s+-i\s*>&|powershell.{0,200}\s-e(?:nc(?:odedcommand)?)?\s|base64\s+(?:-d|--decode)\b.{0,200}\|\s*(?:ba)?sh\b"
    r"|IEX\s*\(|DownloadString\(|mshta\s+http|certutil.{0,100}-urlcache|>>\s{0,9}\S{0,100}(?:\.bashrc|\.profile|\.zshrc|authorized_keys)",
    re.IGNORECASE,
)
SHELL_PROGRAM = Pattern(r"^(?:/bin/|/usr/bin/)?(?:ba|z|da)?sh$|^(?:cmd|powershell)(?:\.exe)?$|^(?:/bin/)?(?:ba)?sh\s")


class Indicator(Struct, frozen=True):
    """A sign of ill intent.

    Attributes:
        weight: Its share in the risk when it is a threat; a third of it otherwise.
        needs: The capabilities that make it a threat, in any one of these combinations, wherever they are in what is
            judged together. One that needs none is a warning, unless it is a threat by itself: `lookalikes`.
        message: A sentence for people.
    """

    weight: float
    needs: tuple[frozenset[Capability], ...]
    message: str


def _needs(*alternatives: str) -> tuple[frozenset[Capability], ...]:
    known: dict[str, Capability] = {name: name for name in CAPABILITY_WEIGHTS}
    return tuple(frozenset(known[name] for name in alternative.split()) for alternative in alternatives)


INDICATORS: dict[str, Indicator] = {
    "exec-of-decoded": Indicator(
        0.85, _needs("dynamic_code", "native_code"), "runs code that it decodes from a constant or file"
    ),
    "exec-of-downloaded": Indicator(
        0.9, _needs("dynamic_code network", "native_code network"), "runs code that it takes from the network"
    ),
    "hidden-call": Indicator(
        0.7, _needs("dynamic_code", "process", "network", "native_code"), "calls a function whose name it hides"
    ),
    "import-of-downloaded": Indicator(
        0.85, _needs("network fs_write"), "writes a module that it takes from the network, and makes it importable"
    ),
    "exec-of-data": Indicator(0.7, _needs("dynamic_code"), "runs code that it keeps in a file that is no source"),
    "unknown-call": Indicator(
        0.3, (), "calls a function of a telling module by a name that only running it would tell"
    ),
    "run-of-decoded": Indicator(0.8, _needs("process"), "starts a command that it decodes"),
    "run-of-downloaded": Indicator(0.85, _needs("process network"), "starts a command that it takes from the network"),
    "shell-dropper": Indicator(0.85, _needs("process"), "starts a shell command that fetches and runs, or stays"),
    "dynamic-shell": Indicator(0.3, (), "hands a shell a command that is no constant"),
    "unpickle-of-downloaded": Indicator(
        0.7, _needs("serialization network"), "unpickles what it takes from the network"
    ),
    "startup-write": Indicator(0.75, _needs("fs_write", "process"), "writes to a file that is run at login or start"),
    "credential-read": Indicator(0.75, _needs("network", "process"), "reads where credentials are kept, and can send"),
    "credential-sent": Indicator(0.9, _needs("network", "process"), "sends what it reads where credentials are kept"),
    "environment-sent": Indicator(
        0.8,
        _needs("network environment", "process environment", "network fs_read"),
        "sends the whole environment over the network",
    ),
    "socket-to-shell": Indicator(0.9, _needs("network process"), "connects a shell to a socket"),
    "shellcode": Indicator(0.8, _needs("native_code"), "makes memory executable, or writes into another process"),
    "network-at-install": Indicator(0.7, _needs("network"), "uses the network while it is being installed"),
    "code-at-start": Indicator(
        0.8,
        _needs("network", "process", "dynamic_code serialization"),
        "runs at every start of the interpreter, and does more than a path file should",
    ),
    "payload-written": Indicator(0.8, _needs("fs_write", "process"), "writes code that fetches or decodes, and runs"),
    "exec-of-message": Indicator(0.75, _needs("dynamic_code", "process"), "runs what it is sent over the bus"),
    "files-sent": Indicator(0.75, _needs("network"), "sends the files of a person's home"),
    "secret-sent": Indicator(0.8, _needs("network"), "sends a secret of one service to another host"),
    "memory-sent": Indicator(0.8, _needs("network"), "sends objects that it picks out of the whole process"),
    "identity-sent": Indicator(0.6, _needs("network"), "sends who and where its user is as soon as it is imported"),
    "dns-tunnel": Indicator(0.8, _needs("network"), "asks for names that it makes of encoded data"),
    "pickle-that-runs": Indicator(0.85, _needs("serialization"), "unpickles a constant that calls what it should not"),
    "interposed": Indicator(0.75, _needs("network"), "puts a function of its own, that sends, in place of another's"),
    "keys-recorded": Indicator(0.75, _needs("network"), "records what is typed, and can send"),
    "screen-recorded": Indicator(0.65, _needs("network"), "takes pictures of the screen, and can send"),
    "clipboard-swap": Indicator(0.75, _needs(""), "puts a wallet's address in place of what was copied"),
    "files-destroyed": Indicator(0.75, _needs("fs_write"), "clears away the files of a person's home"),
    "attribute-walk": Indicator(0.7, _needs(""), "has formatted text reach into the inside of what it is given"),
    "encoded-constant": Indicator(0.3, (), "holds a long constant that looks encoded"),
    "lookalike-name": Indicator(0.7, (), "gives a thing a name that looks like another one"),
    "bidi-control": Indicator(0.6, (), "holds text that shows in another order than it runs in"),
    "code-out-of-sight": Indicator(0.6, _needs("dynamic_code", "process", "network"), "pushes code out of sight"),
}
