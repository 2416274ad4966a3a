//! Which interface the library has.

/// The version of the interface that this header describes: the major version times 65536, plus the minor one.
///
/// The major version is the number in the name of the shared library, `libinstamp.so.0`. Within it functions, error codes,
/// flags and meanings of reserved space are added, with another minor version, and nothing else changes: a program that is linked
/// with an older library runs with a newer one.
pub const INSTAMP_ABI_VERSION: u32 = 1;

/// The version of the interface of the library that runs: `INSTAMP_ABI_VERSION` as it was when the library was built.
///
/// A program that can do without what is new compares it with the version in which that came.
#[unsafe(no_mangle)]
pub extern "C" fn instamp_abi_version() -> u32 {
    INSTAMP_ABI_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_has_the_major_version_of_the_library() {
        let major: u32 = env!("CARGO_PKG_VERSION_MAJOR").parse().expect("a number");
        assert_eq!(instamp_abi_version() >> 16, major);
        assert_eq!(instamp_abi_version(), INSTAMP_ABI_VERSION);
    }
}
