//! Debian's packages of this build, in a clean Debian.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{env::consts::ARCH, fs, process::Command};

use instamp_tests::{
    debian::{Debian, packages, run},
    lab::Lab,
    privilege::tool,
};

/// What the units wait for, and what a container has none of: devices by udev, and a network that is configured.
const WITHOUT_UDEV: &str = r"
    for unit in instamp@ instamp-sync@; do
        sed '/^BindsTo=/d; /^After=/d; /^Wants=/d' /usr/lib/systemd/system/$unit.service > /run/systemd/system/$unit.service
    done";

/// Another clock than that of a network card, of which a lab has none.
const STAND_IN: &str = r"
    mkdir /run/systemd/system/instamp-sync@.service.d
    printf '%s\n' '[Service]' 'ExecStart=' \
        'ExecStart=/usr/bin/instamp sync --phc CLOCK_MONOTONIC_RAW --quiet $INSTAMP_SYNC_OPTIONS' \
        > /run/systemd/system/instamp-sync@.service.d/clock.conf";

/// Each with a device.
const UNITS: &str = "instamp@eth0.service instamp-sync@eth0.service instamp-exporter.service";

/// A program in C, by this system's compiler with the installed header and library.
fn compile_and_run(debian: &Debian) {
    if tool("gcc").is_none() {
        return;
    }
    fs::write(debian.path("version.c"), "#include <instamp.h>\nint main(void) { return !instamp_abi_version(); }\n")
        .unwrap();
    let description = debian.path("usr/lib").join(format!("{ARCH}-linux-gnu/pkgconfig"));
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(["--cflags", "--libs", "instamp"]).env("PKG_CONFIG_LIBDIR", description);
    let flags = run(pkg_config
        .env("PKG_CONFIG_SYSROOT_DIR", debian.path(""))
        .env("PKG_CONFIG_ALLOW_SYSTEM_CFLAGS", "1")
        .env("PKG_CONFIG_ALLOW_SYSTEM_LIBS", "1"));
    let program = debian.path("version");
    run(Command::new("gcc").arg(debian.path("version.c")).args(flags.split_whitespace()).arg("-o").arg(&program));
    debian.run("/version && ldd /version | grep /libinstamp.so.0");
    for file in ["version", "version.c"] {
        fs::remove_file(debian.path(file)).unwrap();
    }
}

/// Reads the exporter's metrics until each of these expressions is found in them. Until it listens it refuses.
const SCRAPE_UNTIL: &str = r#"
import re, sys, urllib.request
wanted = sys.argv[1:]
while wanted:
    try:
        metrics = urllib.request.urlopen("http://127.0.0.1:10430/metrics").read().decode()
    except ConnectionRefusedError:
        continue
    wanted = [expression for expression in wanted if not re.search(expression, metrics)]
"#;

#[test]
fn they_follow_the_policy() {
    let (Some(packages), Some(())) = (packages(), tool("lintian")) else { return };
    // Of the programs, which carry their libraries into containers; and that nobody is to be written to.
    let known = "embedded-library,bogus-mail-host";
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error", "--suppress-tags", known]).args(packages);
    run(&mut lintian);
}

#[test]
fn they_install_and_leave_nothing() {
    let Some(debian) = Debian::new() else { return };
    let before = debian.files();
    debian.install();

    let version = concat!("instamp ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(debian.run("instamp --version"), version);
    assert!(debian.run("instamp ping --help").contains("--stages"));
    assert!(debian.run("env -u CNI_COMMAND /usr/lib/cni/instamp-cni || true").starts_with("instamp-cni "));
    assert_eq!(debian.run("man --where instamp-ping"), "/usr/share/man/man1/instamp-ping.1.gz\n");
    let python = "import importlib.metadata as m, instamp; print(m.version(instamp.__name__), instamp.Run.__name__)";
    assert_eq!(debian.run(&format!("python3 -c '{python}'")), concat!(env!("CARGO_PKG_VERSION"), " Run\n"));
    assert_eq!(debian.run(&format!("systemd-analyze verify {UNITS}")), "");
    // 3 is `OK`, of 10; chronyd's of the same release has 3.7.
    debian.run("cd /usr/lib/systemd/system; for unit in instamp*; do systemd-analyze security --offline=true --threshold=30 $PWD/$unit; done");
    compile_and_run(&debian);

    // What the administrator has done since goes, too.
    debian.run("systemctl enable instamp@eth0.service instamp-sync@eth0.service instamp-exporter.service; echo 'INSTAMP_ATTACH_OPTIONS=--hw' > /etc/default/instamp");
    assert_ne!(debian.files(), before);
    debian.run("apt-get purge --yes --autoremove '?installed?name(instamp)'");
    let after = debian.files();
    assert_eq!(after.symmetric_difference(&before).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_units_attach_and_model_with_what_they_are_allowed() {
    let (Some(debian), Some(())) = (Debian::new(), tool("systemd-nspawn")) else { return };
    let lab = Lab::up(&[]);
    debian.install();
    let script = format!(
        r#"
        {WITHOUT_UDEV}
        {STAND_IN}
        systemctl daemon-reload
        echo 'INSTAMP_ATTACH_OPTIONS=--ingress xdp --point 3' > /etc/default/instamp-nic0
        systemctl start instamp@nic0
        instamp status
        instamp ping -c 3 -i 10ms {remote}
        systemctl reload instamp@nic0
        systemctl start instamp-sync@nic0
        systemctl show --property=StatusText instamp-sync@nic0
        test -e /sys/fs/bpf/instamp/clock/monotonic_raw
        instamp clock
        mkdir /etc/instamp
        printf '%s\n' '[[target]]' 'host = "{remote}"' 'interval = "100ms"' > /etc/instamp/exporter.toml
        systemctl start instamp-exporter
        {scrape_until} 'replies_corrected_total.* [1-9]' 'clock_state.*"valid".* 1' 'hooks_readable 0'
        systemctl show --property=User,DynamicUser instamp-exporter
        install -D --mode=644 -t /run/systemd/system/instamp-exporter.service.d /usr/share/doc/instamp/examples/hooks.conf
        systemctl daemon-reload
        systemctl restart instamp-exporter
        {scrape_until} 'hooks_readable 1' 'hook_stamped_total.*xdp-ingress.* [1-9]'
        apt-get purge --yes instamp
        systemctl show --property=ActiveState instamp@nic0 instamp-sync@nic0 instamp-exporter
        test ! -e /run/instamp"#,
        remote = Lab::REMOTE,
        scrape_until = "python3 /scrape-until.py",
    );
    fs::write(debian.path("scrape-until.py"), SCRAPE_UNTIL).unwrap();
    let log = debian.boot(&lab, &script);
    for text in [
        "nic0: point 3, ",
        "xdp-ingress",
        "icmp_seq=3 ttl=64",
        " net=",
        "StatusText=CLOCK_MONOTONIC_RAW locked",
        "CLOCK_MONOTONIC_RAW: valid",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
    assert_eq!(log.matches("ActiveState=inactive").count(), 3, "{log}");
    let status = run(lab.instamp("host").arg("status"));
    assert_eq!(status, "nothing is attached in this network namespace\n", "{log}");
}
