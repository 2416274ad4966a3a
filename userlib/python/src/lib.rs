//! What of the package `instamp` is not Python: `python/instamp/` makes dataclasses and arrays of it.
//!
//! | module | subject |
//! |---|---|
//! | `buffer` | the bytes of Python objects, where they are: all of the `unsafe` |
//! | `reason` | why there is no answer, as a number |
//! | `scalar` | one probe, one reply |
//! | `columns` | tables as Python gets them: the bytes of each column |
//! | `outcomes` | what is known of many replies |
//! | `many` | many replies at once |
//! | `capture` | a whole capture |

mod buffer;
mod capture;
mod columns;
mod many;
mod outcomes;
mod reason;
mod scalar;

// Without the interpreter's lock, too: nothing here is shared but Python's memory, and `buffer` takes it to be.
#[pyo3::pymodule(gil_used = false)]
mod _instamp {
    use pyo3::{prelude::*, types::PyTuple};

    use crate::reason::Reason;
    #[pymodule_export]
    use crate::{
        capture::{read_bytes, read_file},
        many::strip_correct,
        scalar::{Run, correct, monotonic_offset_ns, strip},
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("DEFAULT_PAYLOAD_LENGTH", instamp::DEFAULT_PAYLOAD_LENGTH)?;
        module.add("MIN_PAYLOAD_LENGTH", instamp::MIN_PAYLOAD_LENGTH)?;
        let reasons: Vec<_> = Reason::all().map(|reason| (reason.name(), reason.to_string())).collect();
        module.add("REASONS", PyTuple::new(module.py(), reasons)?)
    }
}
