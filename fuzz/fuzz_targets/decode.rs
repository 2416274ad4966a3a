//! Any file may be given to `instamp decode`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _refused_or_printed = instamp_tools::decode_to(file, &mut std::io::sink());
});
