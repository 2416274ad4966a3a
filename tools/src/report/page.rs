//! The page: one file that refers to nothing else.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{cdf, course, facts, run::Run, table, way};

/// Nothing is loaded and nothing is run, whatever the names in the input hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The whole page.
pub(super) fn page(title: &str, runs: &[Run]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                header {
                    p.kicker { "instamp report" }
                    h1 { bdi { (title) } }
                }
                main {
                    (facts::section(runs))
                    (cdf::section(runs))
                    (course::section(runs))
                    (way::section(runs))
                    (table::section(runs))
                }
                footer {
                    p { "Made by instamp " (env!("CARGO_PKG_VERSION")) ". Percentiles are exact, those of more than 8192 replies to 0.007 %." }
                }
            }
        }
    }
}
