//! `include/instamp.h` is what cbindgen makes of the crate: `INSTAMP_UPDATE=1` writes it.

use std::{env, fs, path::Path};

#[test]
fn the_header_is_that_of_the_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("include/instamp.h");
    let mut fresh = Vec::new();
    cbindgen::generate(root).expect("a header").write(&mut fresh);
    let fresh = String::from_utf8(fresh).expect("text");
    if env::var_os("INSTAMP_UPDATE").is_some() {
        fs::write(&path, &fresh).expect("the header");
    }
    let kept = fs::read_to_string(&path).expect("the header");
    let difference = similar::TextDiff::from_lines(&kept, &fresh);
    assert!(
        kept == fresh,
        "{}is not what cbindgen makes; run `INSTAMP_UPDATE=1 cargo test --package instamp-capi --test header`",
        difference.unified_diff().header("include/instamp.h", "the crate"),
    );
}
