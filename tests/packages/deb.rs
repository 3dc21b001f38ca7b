//! The Debian package, from its build to its purge.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

use crate::{
    process::{self, directory, leave_out, require},
    root,
};

#[test]
fn it_installs_with_all_that_a_machine_needs() {
    let Some(package) = Package::build() else { return };
    package.in_a_root(
        "dpkg -i /packages/first.deb
        rdp_exporter --version
        rdp_exporter check-config /etc/rdp_exporter/config.yaml
        rdp_exporter check-config /usr/share/doc/rdp-exporter/config.example.yaml
        bash -n /usr/share/bash-completion/completions/rdp_exporter
        for command in '' -probe -check-config -diff -explain; do
            gzip --test /usr/share/man/man1/rdp_exporter$command.1.gz
        done
        test -z \"$(dpkg --verify rdp-exporter)\"
        test ! -e /etc/systemd/system/multi-user.target.wants/rdp_exporter.service",
    );
}

#[test]
fn what_was_edited_survives_upgrade_and_removal() {
    let Some(package) = Package::build() else { return };
    package.make_upgrade();
    package.in_a_root(
        "dpkg -i /packages/first.deb
        echo '# edited' >>/etc/rdp_exporter/config.yaml
        # The new one brings other text for both files: the edited one stays, the other is replaced.
        dpkg -i --force-confdef --force-confold /packages/second.deb
        dpkg-query --show --showformat='${Version}' rdp-exporter | grep '+upgrade$'
        grep '^# edited' /etc/rdp_exporter/config.yaml
        test -z \"$(grep '^# upgraded' /etc/rdp_exporter/config.yaml)\"
        grep '^# upgraded' /etc/default/rdp_exporter
        dpkg --remove rdp-exporter
        test ! -e /usr/bin/rdp_exporter
        grep '^# edited' /etc/rdp_exporter/config.yaml",
    );
}

#[test]
fn a_purge_leaves_nothing() {
    let Some(package) = Package::build() else { return };
    package.in_a_root(
        "ours() { find /etc /usr /var -xdev -name '*rdp[_-]exporter*' | sort; }
        ours >/before
        dpkg -i /packages/first.deb
        SYSTEMD_OFFLINE=1 systemctl enable rdp_exporter.service
        test -L /etc/systemd/system/multi-user.target.wants/rdp_exporter.service
        # As systemd makes them for a dynamic user.
        mkdir -p /var/lib/private/rdp_exporter
        ln -s private/rdp_exporter /var/lib/rdp_exporter
        echo facts >/var/lib/rdp_exporter/state
        dpkg --purge rdp-exporter
        ours >/after
        diff /before /after",
    );
}

/// systemd is there, as far as the scripts can see, but cannot be reached, and policy-rc.d forbids to start anything.
#[test]
fn the_scripts_bear_a_systemd_that_does_not_answer() {
    let Some(package) = Package::build() else { return };
    package.make_upgrade();
    package.in_a_root(
        "mkdir -p /run/systemd/system
        printf '#!/bin/sh\\necho \"$@\" >>/asked\\nexit 101\\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        dpkg -i /packages/first.deb
        test ! -e /asked
        dpkg -i /packages/second.deb
        dpkg --purge rdp-exporter
        printf 'rdp_exporter.service try-restart\\nrdp_exporter.service stop\\n' | diff - /asked",
    );
}

#[test]
fn systemd_takes_the_unit_and_finds_it_hardened() {
    let Some(package) = Package::build() else { return };
    package.in_a_root(
        "dpkg -i /packages/first.deb
        unit=/usr/lib/systemd/system/rdp_exporter.service
        complaints=$(systemd-analyze verify --man=no $unit 2>&1 || true)
        test -z \"$(echo \"$complaints\" | grep rdp_exporter)\"
        # Where it ends by a signal it begins again (systemd.service(5)).
        grep -qx Restart=on-failure $unit
        # Exposure, of 100.
        systemd-analyze security --offline=true --threshold=20 $unit",
    );
}

/// The package of the binary under test; once, as a debug build is large.
static BUILT: OnceLock<Vec<u8>> = OnceLock::new();

fn built() -> Vec<u8> {
    let folder = directory();
    let mut build = Command::new(root().join("packaging/deb/build"));
    let printed = process::run(build.arg(binary()).arg(folder.path()));
    fs::read(printed.trim()).unwrap()
}

/// The release build, which is what users package, where there is one of the sources as they are; else the one under test.
fn binary() -> PathBuf {
    let release = root().join("target/release/rdp_exporter");
    let binary = if is_current(&release) { release } else { env!("CARGO_BIN_EXE_rdp_exporter").into() };
    println!("the package is made of {}", binary.display());
    binary
}

/// Whether nothing that it was built of is younger; cargo lists that beside it.
fn is_current(binary: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let Ok(list) = fs::read_to_string(binary.with_extension("d")) else { return false };
    let own = ["Cargo.lock", "Cargo.toml"].map(|name| root().join(name));
    let sources = list.split_whitespace().skip(1).map(PathBuf::from).chain(own);
    let built = modified(binary);
    built.is_some() && sources.map(|source| modified(&source)).all(|source| source.is_some() && source < built)
}

/// A folder with the package.
struct Package {
    folder: TempDir,
}

impl Package {
    /// Nothing where this machine cannot try it.
    fn build() -> Option<Self> {
        let programs = ["chroot", "dpkg", "dpkg-deb", "dpkg-shlibdeps", "mount", "strip", "systemd-analyze", "unshare"];
        if !require(&programs) {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            leave_out("only root may lay a layer over the root", "run it as root");
            return None;
        }
        let package = Self { folder: directory() };
        fs::write(package.file("first.deb"), BUILT.get_or_init(built)).unwrap();
        Some(package)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same package with a higher version and other text in both files of the configuration.
    fn make_upgrade(&self) {
        let tree = self.file("tree");
        process::run(Command::new("dpkg-deb").arg("--raw-extract").arg(self.file("first.deb")).arg(&tree));
        let change = |path: &str, how: fn(String) -> String| {
            let file = tree.join(path);
            fs::write(&file, how(fs::read_to_string(&file).unwrap())).unwrap();
        };
        change("etc/rdp_exporter/config.yaml", |text| text + "# upgraded\n");
        change("etc/default/rdp_exporter", |text| text + "# upgraded\n");
        change("DEBIAN/control", |text| {
            let lines = text.lines().map(|line| match line.starts_with("Version: ") {
                true => format!("{line}+upgrade\n"),
                false => format!("{line}\n"),
            });
            lines.collect()
        });
        let mut build = Command::new("dpkg-deb");
        process::run(build.args(["--root-owner-group", "-Znone", "--build"]).arg(&tree).arg(self.file("second.deb")));
    }

    /// Runs a script where / is this machine's own with a layer above it, without the package, and each line has to
    /// succeed.
    fn in_a_root(&self, script: &str) {
        let mut unshare = process::command("unshare");
        unshare.args(["--mount", "sh", "-euc", IN_A_ROOT, "sh"]).arg(self.folder.path());
        let was_installed = Path::new(INSTALLED).exists();
        let output = unshare.arg(format!("set -eux\n{BEFORE}\n{script}")).output().unwrap();
        let (printed, log) = (process::lossy(&output.stdout), process::lossy(&output.stderr));
        assert!(output.status.success(), "{printed}\n{log}");
        assert_eq!(Path::new(INSTALLED).exists(), was_installed, "the machine itself was changed");
    }
}

/// dpkg's list of what the package brought.
const INSTALLED: &str = "/var/lib/dpkg/info/rdp-exporter.list";

/// The layer is memory, and goes with the namespace.
const IN_A_ROOT: &str = "
    layer=$1/layer
    mkdir $layer
    mount -t tmpfs tmpfs $layer
    mkdir $layer/upper $layer/work $layer/root
    mount -t overlay overlay -o lowerdir=/,upperdir=$layer/upper,workdir=$layer/work $layer/root
    for system in dev proc sys; do mount --rbind /$system $layer/root/$system; done
    mount -t tmpfs tmpfs $layer/root/run
    mkdir $layer/root/packages
    cp $1/*.deb $layer/root/packages/
    exec chroot $layer/root sh -c \"$2\"";

const BEFORE: &str = "
    export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
    rm -f /usr/sbin/policy-rc.d
    dpkg --purge rdp-exporter 2>/dev/null || true";
