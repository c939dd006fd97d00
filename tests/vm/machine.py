"""A throw-away machine with a kernel of Debian: the kernel's package, an initramfs with what is to run in it, QEMU.

Nothing is installed and no rights are needed. The machine has no disk and no way out; what it leaves in /out comes back
through a virtio port. Kernels are kept below $XDG_CACHE_HOME/skbscope-vm (~/.cache), downloads are not.
"""

import glob
import os
import re
import shutil
import subprocess
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "skbscope-vm")
TOOLS = ["qemu-system-x86_64", "busybox", "ip", "nsenter", "dash", "modprobe", "depmod", "cpio", "apt-get", "apt-cache", "dpkg-deb", "ldd", "cc"]

# Loaded by init in this order, as far as the kernel has them as modules.
MODULES = ["virtio_pci", "virtio_console", "af_packet", "veth", "e1000", "udp_diag", "tcp_diag", "raw_diag", "crc32c_generic", "nf_tables", "nft_counter"]

# What a recorded scenario may need beyond them; the recorder loads what it needs itself.
RECORDER_MODULES = [
    "e1000e", "virtio_net", "sch_fq_codel", "sch_tbf", "sch_netem", "nft_numgen", "nft_limit", "nft_nat", "nft_chain_nat", "nft_ct", "nft_reject_inet",
    "nft_masq", "nft_redir", "nft_log", "pktgen", "iptable_raw", "iptable_filter", "iptable_nat", "xt_tcpudp"]
PACKED = MODULES + RECORDER_MODULES

# What the lab runs in the machine: a name and its file.
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
LAB = {os.path.basename(path)[:-len(".yaml")]: path for path in glob.glob(f"{REPOSITORY}/tests/data/lab/*.yaml")} | {
    "lesson-" + os.path.basename(os.path.dirname(path))[:2]: path for path in glob.glob(f"{REPOSITORY}/lessons/0[1-4]-*/scenario.yaml")}

# Where a series is looked for when this machine's own sources do not have it.
OTHER_SUITES = ["bullseye-security", "bullseye", "bookworm-security", "bookworm", "bookworm-backports", "trixie-security", "trixie"]


class Unavailable(Exception):
    """Something that the test needs cannot be had here: a reason to skip it, not to fail."""


def missing_tools():
    places = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [tool for tool in TOOLS if not shutil.which(tool, path=places)]


def tool(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def output_of(command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


# ---------------------------------------------------------------------------------------------------------- the kernel

def archives():
    """Addresses of the archive and of its security part, as this machine's apt knows them."""
    lines = output_of(["apt-get", "indextargets", "--format", "$(REPO_URI) $(SUITE) $(CODENAME) $(ORIGIN)"]).splitlines()
    found = {}
    for line in lines:
        address, *names = line.split()
        if "Debian" in names:
            found.setdefault("security" if any("security" in name for name in names) else "main", address)
    return found


def suite_options(suite, state):
    """apt's options to see that suite alone; the machine's own lists stay as they are."""
    address = archives().get("security" if suite.endswith("-security") else "main")
    if not address:
        return None
    os.makedirs(f"{state}/lists/partial", exist_ok=True)
    with open(f"{state}/sources.list", "w") as file:
        file.write(f"deb {address} {suite} main\n")
    settings = {
        "Dir::Etc::SourceList": f"{state}/sources.list", "Dir::Etc::SourceParts": "-", "Dir::State::Lists": f"{state}/lists",
        "Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": "", "Acquire::Languages": "none", "APT::Sandbox::User": "root",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def newest_package(series, options):
    """The newest kernel image of a series ("6.1") that those sources have: plain amd64, signed."""
    pattern = "^linux-image-" + re.escape(series) + r"\.[0-9]+.*-amd64$"
    names = [line.split()[0] for line in output_of(["apt-cache", *options, "search", "--names-only", pattern]).splitlines()]
    plain = [name for name in names if not re.search(r"cloud|-rt-|dbg|unsigned|bpo", name)]
    numbers = {name: [int(number) for number in re.findall(r"\d+", name)] for name in plain}
    return max(plain, key=numbers.get, default=None)


def download(series, folder):
    """The newest package of that series in `folder`: its path."""
    options = ["-o", "APT::Sandbox::User=root"]
    name = newest_package(series, options)
    for suite in OTHER_SUITES if not name else []:
        options = suite_options(suite, f"{folder}/{suite}")
        if options and subprocess.run(["apt-get", *options, "-qq", "update"], capture_output=True).returncode == 0:
            name = newest_package(series, options)
        if name:
            break
    if not name:
        raise Unavailable(f"no package of a kernel {series} in reach of apt")
    got = subprocess.run(["apt-get", *options, "-qq", "download", name], cwd=folder, capture_output=True, text=True)
    if got.returncode != 0:
        raise Unavailable(f"{name} could not be downloaded: {got.stderr.strip().splitlines()[-1:]}")
    return glob.glob(f"{folder}/{name}_*.deb")[0]


def closure(modules_folder):
    """Paths of PACKED and of what they need, from modules.dep."""
    needs = {}
    with open(f"{modules_folder}/modules.dep") as file:
        for line in file:
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
    wanted = [path for path in needs if re.sub(r"\.ko.*", "", os.path.basename(path)).replace("-", "_") in PACKED]
    taken = set()
    while wanted:
        path = wanted.pop()
        if path not in taken:
            taken.add(path)
            wanted += needs[path]
    return taken


def keep_needed(unpacked, release, kept):
    """vmlinuz and the modules' closure, unpacked, with their lists made anew."""
    source = f"{unpacked}/lib/modules/{release}"
    subprocess.run([tool("depmod"), "-b", unpacked, release], check=True, stderr=subprocess.DEVNULL)
    modules = f"{kept}/files/lib/modules/{release}"
    for path in closure(source):
        target = os.path.join(modules, re.sub(r"\.(xz|zst|gz)$", "", path))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        unpacker = {".xz": ["xz", "-dc"], ".zst": ["zstd", "-dcq"], ".gz": ["gzip", "-dc"]}.get(os.path.splitext(path)[1], ["cat"])
        with open(target, "wb") as file:
            subprocess.run([*unpacker, f"{source}/{path}"], check=True, stdout=file)
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"]:
        if os.path.exists(f"{source}/{name}"):
            shutil.copy(f"{source}/{name}", modules)
    subprocess.run([tool("depmod"), "-b", f"{kept}/files", release], check=True, stderr=subprocess.DEVNULL)
    shutil.copy(f"{unpacked}/boot/vmlinuz-{release}", f"{kept}/vmlinuz")
    with open(f"{kept}/modules", "w") as file:
        file.write(" ".join(PACKED))


def is_kept(place):
    """Whether a kernel lies there with the modules that are wanted now."""
    try:
        with open(f"{place}/modules") as file:
            return file.read() == " ".join(PACKED) and os.path.exists(f"{place}/vmlinuz")
    except OSError:
        return False


def kernel(series):
    """The folder with vmlinuz and files/lib/modules of that series; fetched when it is not there yet."""
    place = os.path.join(CACHE, series)
    if is_kept(place):
        return place
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch.", dir=CACHE) as work:
        package = download(series, work)
        subprocess.run(["dpkg-deb", "-x", package, f"{work}/unpacked"], check=True)
        if not os.path.isdir(f"{work}/unpacked/lib/modules"):
            os.rename(f"{work}/unpacked/usr/lib", f"{work}/unpacked/lib")
        release = os.listdir(f"{work}/unpacked/lib/modules")[0]
        keep_needed(f"{work}/unpacked", release, f"{work}/kept")
        shutil.rmtree(place, ignore_errors=True)
        os.rename(f"{work}/kept", place)
    return place


# ------------------------------------------------------------------------------------------------------- the initramfs

def libraries(program):
    """Paths of the shared libraries that the program loads, the loader among them."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    missing = re.findall(r"^\s*(\S+) => not found", said, re.M)
    if missing:
        raise Unavailable(f"{program} needs {', '.join(missing)}, which ldd does not find")
    return re.findall(r"(/\S+) \(0x", said)


def put_libraries(root, source):
    """The libraries of a program or of another library, where the loader looks for them."""
    for path in libraries(source):
        inside = root + "/usr" + path if re.match("/lib", path) else root + path
        if not os.path.exists(inside):
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            shutil.copy(os.path.realpath(path), inside)


def put(root, source, name):
    """The program at `source` as /usr/bin/NAME, with its libraries."""
    put_libraries(root, source)
    shutil.copy(os.path.realpath(source), f"{root}/usr/bin/{name}")


def stage_system(root, kernel_folder):
    """The machine's file system: everything below /usr, with the old names as links, and the tools that every machine needs."""
    for name in ["usr/bin", "usr/lib", "usr/lib64", "bin", "vm"]:
        if name != "bin":
            os.makedirs(f"{root}/{name}")
    for name in ["bin", "lib", "lib64"]:
        os.symlink(f"usr/{name}", f"{root}/{name}")
    os.makedirs(f"{root}/usr/bin/applets")
    put(root, tool("dash"), "sh")
    for name in ["busybox", "ip", "nsenter", "modprobe"]:
        put(root, tool(name), name)
    if tool("nft"): # the lab says so where it lacks one
        put(root, tool("nft"), "nft")
    shutil.copytree(f"{kernel_folder}/files/lib/modules", f"{root}/usr/lib/modules")
    shutil.copy(f"{HERE}/guest/init", f"{root}/init")
    with open(f"{root}/vm/modules", "w") as file:
        file.write("".join(name + "\n" for name in MODULES))


def stage_tests(root, program):
    """The program under test and the scripts that test it."""
    # Without symbols it is a tenth of the size; where there is no strip, it is copied whole.
    put(root, program, "skbscope")
    if tool("strip"):
        subprocess.run(["strip", "-o", f"{root}/usr/bin/skbscope", program], check=True)
    subprocess.run(["cc", "-O1", "-static", "-o", f"{root}/usr/bin/traffic", f"{HERE}/guest/traffic.c"], check=True)
    shutil.copy(f"{HERE}/guest/scenario", f"{root}/vm/scenario")
    os.makedirs(f"{root}/vm/lab")
    shutil.copy(f"{HERE}/guest/lab", f"{root}/vm/lab/run")
    for name, path in LAB.items():
        shutil.copy(path, f"{root}/vm/lab/{name}.yaml")


def pack(root, archive):
    names = "\0".join(os.path.relpath(os.path.join(folder, name), root)
                      for folder, folders, files in os.walk(root) for name in folders + files)
    with open(archive, "wb") as file:
        subprocess.run(["cpio", "--null", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=root, input=names.encode(), stdout=file, check=True)


# --------------------------------------------------------------------------------------------------------- the machine

def run(kernel_folder, program, results, seconds):
    """Boots, waits for the end of the tests' scenario, and unpacks /out into `results`; console.log stands there, too."""
    boot(kernel_folder, lambda root: stage_tests(root, program), results, seconds)


def boot(kernel_folder, stage, results, seconds, cpus=2, devices=()):
    """A machine whose file system `stage` has completed, with further words for QEMU in `devices`."""
    with tempfile.TemporaryDirectory(prefix="skbscope-vm.") as work:
        os.makedirs(f"{work}/root")
        stage_system(f"{work}/root", kernel_folder)
        stage(f"{work}/root")
        pack(f"{work}/root", f"{work}/initramfs")
        command = [
            tool("qemu-system-x86_64"), "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35",
            # One thread for all CPUs: with several, a CPU was seen to hang while the function tracer changes code.
            "-accel", "tcg,thread=single", "-cpu", "max,la57=off", "-smp", str(cpus), "-m", "1536",
            "-kernel", f"{kernel_folder}/vmlinuz", "-initrd", f"{work}/initramfs",
            "-append", "console=ttyS0 loglevel=4 panic=-1 tsc=reliable no_timer_check mitigations=off net.ifnames=0",
            "-serial", f"file:{results}/console.log", "-device", "virtio-serial-pci",
            "-chardev", f"file,id=results,path={work}/results.tar", "-device", "virtserialport,chardev=results,name=results",
            *devices,
        ]
        try:
            ended = subprocess.run(command, timeout=seconds, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the machine did not end within {seconds} seconds; see {results}/console.log") from None
        if ended.returncode != 0:
            raise RuntimeError(f"QEMU: {ended.stderr.strip() or ended.returncode}")
        try:
            with tarfile.open(f"{work}/results.tar") as archive:
                archive.extractall(results, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(results)
        except tarfile.TarError as error:
            raise RuntimeError(f"the machine handed nothing over ({error}); see {results}/console.log") from None
