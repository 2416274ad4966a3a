//! The library for programs in C: what is installed of it, and its example on real packets.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::{Command, Stdio},
};

use instamp_tests::{
    capi::{Library, Linkage},
    commands::text,
    lab::Lab,
    podman::{Backend, Content, Podman, podman},
    privilege::{root, tool},
};

const PROBES: &str = "50";
/// How long the example waits for the last replies, in seconds, where all have to come: as long as a machine is held up at worst.
const PATIENCE: &str = "20";

/// The names of the functions of the header.
fn functions(library: &Library) -> BTreeSet<String> {
    let header = fs::read_to_string(library.prefix().join("include/instamp.h")).unwrap();
    let code = header.lines().filter(|line| !line.starts_with([' ', '/', '#']));
    let called = code.filter_map(|line| line.split_once('(')).map(|(before, _)| before);
    called.filter_map(|before| before.rsplit([' ', '*']).next()).map(str::to_owned).collect()
}

#[test]
fn the_shared_library_has_its_name_and_the_functions_of_the_header_alone() {
    let (Some(library), Some(())) = (Library::find(), tool("nm")) else { return };
    let shared = library.prefix().join("lib/libinstamp.so");
    let names = text(Command::new("nm").args(["--dynamic", "--defined-only", "--format=just-symbols"]).arg(&shared));
    let exported: BTreeSet<_> = names.lines().map(str::to_owned).collect();
    assert_eq!(exported, functions(&library));
    assert!(exported.iter().all(|name| name.starts_with("instamp_")) && exported.len() > 10, "{exported:?}");

    let dynamic = text(Command::new("readelf").arg("--dynamic").arg(&shared));
    assert!(dynamic.contains("Library soname: [libinstamp.so.0]"), "{dynamic}");
    // The name to link with leads to that to run with, and that to the file.
    let links_to = |name: &str| fs::read_link(library.prefix().join("lib").join(name)).unwrap();
    assert_eq!(links_to("libinstamp.so"), Path::new("libinstamp.so.0"));
    let file = links_to("libinstamp.so.0").display().to_string();
    assert_eq!(file, concat!("libinstamp.so.", env!("CARGO_PKG_VERSION")));
}

/// The header is the first thing in a file, twice, with all warnings: in C from 1999 on, in C++ from 2011 on.
#[test]
fn the_header_is_clean_in_c_and_in_cpp() {
    let (Some(library), Some(())) = (Library::find(), tool("g++")) else { return };
    let program = "#include <instamp.h>\n#include <instamp.h>\n\
        int main(void) { struct instamp_run run; return instamp_run_init(&run, 64) == INSTAMP_OK\n\
        && instamp_abi_version() == INSTAMP_ABI_VERSION ? 0 : INSTAMP_ERROR_INTERNAL; }\n";
    let folder = tempfile::tempdir().unwrap();
    for (compiler, language, standards) in
        [("gcc", "c", &["c99", "c11", "c17", "c2x"][..]), ("g++", "c++", &["c++11", "c++14", "c++17", "c++20"][..])]
    {
        for standard in standards {
            let built = folder.path().join(standard);
            let mut command = Command::new(compiler);
            command.args(["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]);
            command.arg(format!("-std={standard}")).args(["-x", language, "-", "-x", "none", "-o"]).arg(&built);
            command.arg(format!("-Wl,-rpath,{}", library.prefix().join("lib").display()));
            command.args(library.flags(Linkage::Shared)).stdin(Stdio::piped());
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{command:?}");
            text(&mut Command::new(built));
        }
    }
}

#[test]
fn each_function_has_a_page_that_mandoc_is_content_with() {
    let (Some(library), Some(())) = (Library::find(), tool("mandoc")) else { return };
    let (manual, folder) = (library.prefix().join("share/man"), tempfile::tempdir().unwrap());
    let mut documented = BTreeSet::new();
    for page in fs::read_dir(manual.join("man3")).unwrap() {
        let page = page.unwrap().path();
        let source = fs::read_to_string(&page).unwrap();
        if let Some(of) = source.strip_prefix(".so ") {
            let of = fs::read_to_string(manual.join(of.trim_end())).unwrap();
            let name = page.file_stem().unwrap().to_str().unwrap();
            assert!(of.lines().any(|line| line.trim_end_matches(" ,") == format!(".Nm {name}")), "{name}");
        } else {
            // It would say that the date lies ahead, where the machine's clock is behind.
            let (date, rest) = source.split_once('\n').unwrap();
            assert!(date.starts_with(".Dd "), "{date}");
            let copy = folder.path().join(page.file_name().unwrap());
            fs::write(&copy, format!(".Dd January 1, 2000\n{rest}")).unwrap();
            text(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(copy));
        }
        documented.insert(page.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    assert!(documented.remove("instamp"));
    assert_eq!(documented, functions(&library));
}

/// A number behind its name in a line.
#[track_caller]
fn field(line: &str, name: &str) -> i64 {
    let words = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    words.and_then(|value| value.trim_end_matches("ns").parse().ok()).unwrap_or_else(|| panic!("{name}: {line}"))
}

/// What the example writes of probes that all came back, and were all corrected.
#[track_caller]
fn all_corrected(text: &str) {
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.pop(), Some(&*format!("{PROBES} sent, {PROBES} received, {PROBES} corrected")), "{text}");
    assert_eq!(lines.len().to_string(), PROBES);
    for line in lines {
        let [time, net, tx, rx] = ["time", "net", "tx", "rx"].map(|name| field(line, name));
        assert_eq!(time, net + tx + rx, "{line}");
        assert!(net > 0 && tx > 0 && rx > 0, "{line}");
        assert!(line.ends_with(" driver-tx/xdp-ingress"), "{line}");
    }
}

/// A lab with hooks on the host's card.
fn stamping() -> Lab {
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    lab
}

#[test]
fn the_example_is_corrected_on_both_kinds_of_sockets() {
    let (Some(()), Some(library)) = (root(), Library::find()) else { return };
    let (lab, ping) = (stamping(), library.compile("examples/ping.c", Linkage::Shared));
    for range in ["0 2147483647", "1 0"] {
        lab.enter("c1", || fs::write("/proc/sys/net/ipv4/ping_group_range", range).unwrap());
        all_corrected(&text(lab.command("c1", &ping).args([Lab::REMOTE, PROBES, PATIENCE])));
    }
}

#[test]
fn the_example_is_corrected_in_a_time_namespace() {
    let (Some(()), Some(library), Some(())) = (root(), Library::find(), tool("unshare")) else { return };
    let (lab, ping) = (stamping(), library.compile("examples/ping.c", Linkage::Shared));
    for seconds in ["1000000", "-5"] {
        let mut command = lab.command("c1", "unshare");
        command.args(["--time", "--monotonic", seconds, "--fork"]).arg(&ping).args([Lab::REMOTE, PROBES, PATIENCE]);
        all_corrected(&text(&mut command));
    }
}

/// Who starts a program that has more rights does not choose what it opens.
#[test]
fn a_set_user_id_program_takes_no_directory_from_the_environment() {
    const PROGRAM: &str = "#include <errno.h>\n#include <instamp.h>\n\
        int main(void) { struct instamp_clock_model *model; int32_t error = instamp_clock_model_open(0, \"ptp99999\", &model);\n\
        return error == INSTAMP_ERROR_SYSTEM && errno == ENOENT ? 0 : error; }\n";
    const NOBODY: u32 = 65534;
    const FOREIGN: i32 = 65;
    let (Some(()), Some(library)) = (root(), Library::find()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [source, program] = ["open.c", "open"].map(|name| folder.path().join(name));
    fs::write(&source, PROGRAM).unwrap();
    text(library.compiler(Linkage::Static).arg(&source).arg("-o").arg(&program).args(library.flags(Linkage::Static)));
    fs::write(folder.path().join("ptp99999"), "no model").unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    chown(&program, Some(NOBODY), None).unwrap();
    for (mode, code) in [(0o755, FOREIGN), (0o4755, 0)] {
        fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
        let status = Command::new(&program).env("INSTAMP_CLOCK_DIR", folder.path()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{mode:o}");
    }
}

#[test]
fn valgrind_finds_nothing_in_the_example() {
    let (Some(()), Some(library), Some(())) = (root(), Library::find(), tool("valgrind")) else { return };
    let (lab, ping) = (stamping(), library.compile("examples/ping.c", Linkage::Shared));
    let mut command = lab.command("c1", "valgrind");
    command.args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=all"]);
    command.args(["--errors-for-leak-kinds=all", "--"]).arg(&ping).args([Lab::REMOTE, PROBES, PATIENCE]);
    all_corrected(&text(&mut command));
}

#[test]
fn the_example_is_corrected_behind_podmans_address_translation() {
    let (Some(()), Some(library)) = (podman(), Library::find()) else { return };
    let ping = library.compile("examples/ping.c", Linkage::Static);
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Busybox);
    podman.start("web");
    podman.run(&["cp", ping.to_str().unwrap(), "web:/bin/ping"]);
    text(podman.instamp().args(["attach", "--container", "web", "--ingress", "xdp"]));
    all_corrected(&podman.run(&["exec", "web", "/bin/ping", Lab::REMOTE, PROBES, PATIENCE]));
}

#[test]
fn the_example_ends_as_ping_does() {
    let (Some(()), Some(library)) = (root(), Library::find()) else { return };
    let (lab, ping) = (Lab::up(&[]), library.compile("examples/ping.c", Linkage::Shared));
    // Not stamped, not answered, no address, and no time.
    for (arguments, code, says, complains) in [
        (&[Lab::REMOTE, "2", PATIENCE][..], 0, "uncorrected: no stamps", ""),
        (&["10.99.0.77", "2"], 1, "2 sent, 0 received, 0 corrected", ""),
        (&["nowhere"], 2, "", "usage"),
        (&[Lab::REMOTE, "2", "-1"], 2, "", "usage"),
    ] {
        let output = lab.command("c1", &ping).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let [text, messages] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(text.contains(says) && messages.contains(complains), "{text}{messages}");
    }
}
