//! An `impl` for a type of another module is an arrow from that module: users of the type call the `impl` without a
//! `use` of its module.

use std::path::Path;

use crate::modules::Crate;
use crate::{ALLOWED, allows};

/// The `impl`s in modules that the module of the type must not use.
fn hidden(sources: &Crate) -> Vec<String> {
    let top = |path: &[String]| path.first().cloned().unwrap_or_default();
    let arrows = sources.foreign_impls().into_iter();
    let wrong = arrows.filter(|arrow| !allows(&top(&arrow.from), &top(&arrow.to)));
    wrong
        .map(|arrow| format!("{}: an `impl` for a type of `{}`", arrow.to.join("::"), arrow.from.join("::")))
        .collect()
}

#[test]
fn a_hidden_impl_is_found() {
    let found = |check: &str| {
        let spec = "mod probe; pub use probe::Probe; pub use crate::config::Method;";
        let files = [
            ("lib.rs", "mod check; mod config; mod spec;"),
            ("config.rs", "pub struct Method;"),
            ("spec/mod.rs", spec),
            ("spec/probe.rs", "pub struct Probe;"),
            ("check/mod.rs", check),
        ];
        hidden(&Crate::read(files.map(|(path, text)| (Path::new(path), text))))
    };
    let probe = "check: an `impl` for a type of `spec::probe`";
    assert_eq!(found("use std::fmt; use crate::spec::Probe; impl fmt::Display for Probe {}"), [probe]);
    assert_eq!(found("impl From<crate::spec::Probe> for String {}"), [""; 0]);
    assert_eq!(found("use crate::spec::Probe; impl From<u8> for &Probe {}"), [probe]);
    assert_eq!(found("use crate::spec::Probe as P; impl P { pub fn describe(&self) {} }"), [probe]);
    assert_eq!(found("use crate::spec; impl Clone for spec::Probe {}"), [probe]);
    // The defining module counts, not the re-exporting module.
    let method = "check: an `impl` for a type of `config`";
    assert_eq!(found("use crate::spec::Method; impl std::fmt::Display for Method {}"), [method]);
    // Callers of these must name `check`.
    assert_eq!(found("use crate::spec::Probe; trait Run {} impl Run for Probe {}"), [""; 0]);
    assert_eq!(found("use crate::spec::Probe; struct Own; impl From<Own> for Probe {}"), [""; 0]);
    assert_eq!(found("use crate::spec::Probe; struct Own; impl From<Probe> for Own {}"), [""; 0]);
    // Test code.
    assert_eq!(
        found("#[cfg(test)] mod tests { use crate::spec::Probe; impl Default for Probe {} }"),
        [""; 0]
    );
}

#[test]
fn no_impl_hides_from_the_table_of_the_design() {
    assert!(ALLOWED.iter().any(|(module, _)| *module == "spec"));
    let wrong = hidden(&Crate::of("src"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
