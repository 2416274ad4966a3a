//! Modules of a kernel, in an order in which they can be loaded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The modules of these names, behind those that they need.
pub(super) fn ordered(folder: &Path, names: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut paths = BTreeMap::new();
    list(folder, &mut paths);
    let mut modules = Vec::new();
    for name in names {
        add(name, &paths, &mut modules);
    }
    modules
}

fn add(name: &str, paths: &BTreeMap<String, PathBuf>, modules: &mut Vec<(String, Vec<u8>)>) {
    if modules.iter().any(|(known, _)| known == name) {
        return;
    }
    let module = read(paths.get(name).unwrap_or_else(|| panic!("this kernel has no module {name}")));
    for dependency in dependencies(&module) {
        add(&dependency, paths, modules);
    }
    modules.push((name.to_owned(), module));
}

/// All modules below a folder, by their names: in these `_` and `-` are the same.
fn list(folder: &Path, paths: &mut BTreeMap<String, PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("readable").path()) {
        if path.is_dir() {
            list(&path, paths);
        } else if let Some((name, "ko" | "ko.xz")) =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'))
        {
            paths.insert(name.replace('-', "_"), path);
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    if path.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(path).output().expect("xz");
        assert!(output.status.success(), "xz {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        return output.stdout;
    }
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a module says of itself: `depends=llc,stp`, between zeros.
fn dependencies(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(start) = module.windows(FIELD.len()).position(|window| window == FIELD) else { return Vec::new() };
    let value = module[start + FIELD.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = str::from_utf8(value).expect("names").split(',').filter(|name| !name.is_empty());
    names.map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_between_zeros() {
        for (module, expected) in [
            (&b"\0license=GPL\0depends=llc,nf-nat\0name=x\0"[..], &["llc", "nf_nat"][..]),
            (b"\0depends=\0", &[]),
            (b"no such field", &[]),
        ] {
            assert_eq!(dependencies(module), expected);
        }
    }
}
