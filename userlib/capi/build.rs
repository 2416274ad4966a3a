//! The name by which programs find the shared library at run time.

fn main() {
    // What breaks programs that are linked already comes with another major version, and so with another name.
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libinstamp.so.{major}");
    println!("cargo::rerun-if-changed=build.rs");
}
