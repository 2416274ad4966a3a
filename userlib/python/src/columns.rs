//! Tables as Python gets them: a column is its type, as NumPy writes it, and its bytes.

use pyo3::{prelude::*, types::PyByteArray};
use zerocopy::{Immutable, IntoBytes};

/// A number that NumPy knows.
pub(crate) trait Item: IntoBytes + Immutable {
    const TYPE: &'static str;
}

impl Item for bool {
    const TYPE: &'static str = "?";
}

impl Item for u8 {
    const TYPE: &'static str = "u1";
}

impl Item for u16 {
    const TYPE: &'static str = "u2";
}

impl Item for u64 {
    const TYPE: &'static str = "u8";
}

impl Item for i64 {
    const TYPE: &'static str = "i8";
}

/// A column, as `numpy.frombuffer` takes it.
pub(crate) type Column<'py> = (&'static str, Bound<'py, PyByteArray>);

#[expect(clippy::needless_pass_by_value, reason = "the column's memory goes as soon as Python has a copy")]
pub(crate) fn column<'py, T: Item>(py: Python<'py>, items: Vec<T>) -> Column<'py> {
    (T::TYPE, PyByteArray::new(py, items.as_bytes()))
}

/// A table: its columns, each with a name and a type of item, and what makes a dictionary of them.
macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($column:ident: $item:ty,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $table {
            $(pub(crate) $column: Vec<$item>,)*
        }

        impl $table {
            pub(crate) fn into_python(
                self,
                py: pyo3::Python<'_>,
            ) -> pyo3::PyResult<pyo3::Bound<'_, pyo3::types::PyDict>> {
                use pyo3::types::PyDictMethods as _;
                let table = pyo3::types::PyDict::new(py);
                $(table.set_item(stringify!($column), crate::columns::column(py, self.$column))?;)*
                Ok(table)
            }
        }
    };
}

pub(crate) use table;
