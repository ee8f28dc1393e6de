# SPDX-License-Identifier: GPL-2.0-only
"""What a guest runs on: QEMU, or the host itself, of which User Mode Linux is a
process.  Both start from the same initramfs, see the host's folders, and write the
kernel's log, the command's output and its verdict to where they are told.
"""

import fcntl
import gzip
import lzma
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
NO_VERDICT = 125
QEMU_MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"]
QEMU_CMDLINE = ("console=ttyS0 loglevel=7 panic=-1 mitigations=off nokaslr "
                "random.trust_cpu=on tsc=reliable no_timer_check "
                "rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=30")
UML_CMDLINE = "loglevel=7 panic=-1 con=null ssl=null"
# What the guest leaves behind when its kernel is gone would go on as a process of the
# host: it dies with the first process of a namespace.
UML_ALONE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-current-user"]),
             "--pid", "--fork", "--kill-child", "sh", "-c", 'ulimit -c 0; "$@"; exit', "sh"]


def say(text):
    print(f"vm: {text}", file=sys.stderr, flush=True)


def die(text):
    say(text)
    sys.exit(NO_VERDICT)


def output_of(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode:
        die(f"{os.path.basename(command[0])} failed")
    return done.stdout.strip()


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Cpio:
    """A newc archive, uncompressed: unpacking costs the guest more."""

    def __init__(self):
        self.data = bytearray()
        self.inode = 0

    def add(self, name, mode, content=b""):
        self.inode += 1
        fields = [self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0,
                  len(name) + 1, 0]
        self.data += b"070701" + b"".join(b"%08x" % f for f in fields)
        self.data += name.encode() + b"\0"
        self.data += bytes(-len(self.data) % 4)
        self.data += content + bytes(-len(content) % 4)

    def directory(self, name):
        self.add(name, 0o40755)

    def file(self, name, content):
        self.add(name, 0o100755, content)

    def finish(self):
        self.add("TRAILER!!!", 0)
        return bytes(self.data)


def boot_modules(kernel, names):
    """Contents of the modules that reach the root, in load order."""
    seen = []
    for module in names:
        shown = output_of("/sbin/modprobe", "-d", kernel.root, "-S",
                          kernel.release, "--show-depends", module)
        for line in shown.splitlines():
            words = line.split()
            if words[0] == "insmod" and words[1] not in seen:
                seen.append(words[1])
    opener = {".xz": lzma.open, ".gz": gzip.open}
    for path in seen:
        with opener.get(os.path.splitext(path)[1], open)(path, "rb") as ko:
            yield ko.read()


def initramfs(kernel, modules, job):
    busybox = shutil.which("busybox")
    if not busybox:
        die(f"no busybox; install it with: {HERE}/setup vm")
    cpio = Cpio()
    for name in ("bin", "dev", "job", "modules"):
        cpio.directory(name)
    cpio.file("init", read(f"{HERE}/guest-init"))
    cpio.file("bin/busybox", read(busybox))
    for number, content in enumerate(boot_modules(kernel, modules)):
        cpio.file(f"modules/{number:02}.ko", content)
    for name, text in job.items():
        cpio.file(f"job/{name}", text.encode())
    return cpio.finish()


class Machine:
    """Boots a kernel.  What this leaves out, QEMU and UML each do in their way."""

    MODULES = []	# to reach the root
    FILESYSTEM = ""	# of the host's folders
    OUTPUT, VERDICT = "", ""	# devices, unless they are found by name

    def __init__(self, kernel, directory):
        self.kernel = kernel
        self.directory = directory
        self.log = f"{directory}/kernel.log"

    def load(self, job):
        with open(f"{self.directory}/initramfs", "wb") as file:
            file.write(initramfs(self.kernel, self.MODULES, job))


class Qemu(Machine):
    MODULES = QEMU_MODULES
    FILESYSTEM = "9p"

    def __init__(self, kernel, directory, accel):
        super().__init__(kernel, directory)
        self.accel = accel
        self.devices = []

    def share(self, name, path, writable):
        """Makes a folder of the host visible; name: its tag"""
        self.devices += [
            "-virtfs", f"local,path={path},mount_tag={name},security_model=none,"
            f"multidevs=remap,readonly={'off' if writable else 'on'}"]

    def link(self, path):
        """Whoever holds the lock is the first guest; datagrams need no order."""
        lock = open(f"{path}.lock", "w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine, peer = 1, 2
        except BlockingIOError:
            mine, peer = 2, 1
        self.devices += [
            "-netdev", f"dgram,id=link,local.type=unix,local.path={path}.{mine},"
            f"remote.type=unix,remote.path={path}.{peer}",
            "-device", "virtio-net-pci,netdev=link,romfile=,"
            f"mac=52:54:00:00:00:0{mine}"]
        return lock, f"{path}.{mine}"

    def start(self, cpus, mem, words, output):
        """A process; output: where the command's output goes"""
        command = [
            "qemu-system-x86_64", "-machine", "q35", *self.accel,
            "-smp", str(cpus), "-m", mem, "-nodefaults", "-no-reboot",
            "-display", "none", "-kernel", self.kernel.image,
            "-initrd", f"{self.directory}/initramfs",
            "-append", " ".join([QEMU_CMDLINE, *words]),
            "-chardev", f"file,id=log,path={self.log}",
            "-serial", "chardev:log", "-device", "virtio-serial-pci",
            "-chardev", f"file,id=verdict,path={self.directory}/verdict",
            "-device", "virtserialport,chardev=verdict,name=verdict",
            "-add-fd", f"fd={output},set=1",
            "-chardev", "file,id=output,append=on,path=/dev/fdset/1",
            "-device", "virtserialport,chardev=output,name=output", *self.devices]
        return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command],
                                stdin=subprocess.DEVNULL, pass_fds=[output])


class Uml(Machine):
    FILESYSTEM = "hostfs"
    OUTPUT, VERDICT = "/dev/ttyS0", "/dev/ttyS1"

    def share(self, name, path, writable):
        """All of the host is visible."""

    def start(self, _cpus, mem, words, output):
        with open(self.log, "wb") as log, open(f"{self.directory}/verdict", "wb") as verdict:
            command = [self.kernel.image, f"mem={mem}", *UML_CMDLINE.split(),
                       f"con0=null,fd:{log.fileno()}", f"ssl0=null,fd:{output}",
                       f"ssl1=null,fd:{verdict.fileno()}", f"uml_dir={self.directory}",
                       f"initrd={self.directory}/initramfs", *words]
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *UML_ALONE, *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[log.fileno(), output, verdict.fileno()])
