//! What stands in the way, told when it begins and not again and again.

/// The problem of one part.
#[derive(Debug, Default)]
pub(super) struct Problem {
    told: Option<String>,
}

impl Problem {
    /// Notes how it stands: tells of an error, unless it is the one that was told last. Returns what there is.
    pub(super) fn note<T>(&mut self, part: &str, result: anyhow::Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.told = None;
                Some(value)
            }
            Err(error) => {
                let text = format!("{error:#}");
                if self.told.as_ref() != Some(&text) {
                    eprintln!("instamp: {part}: {text}");
                    self.told = Some(text);
                }
                None
            }
        }
    }
}
