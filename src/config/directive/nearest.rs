//! Finds the directive that a misspelt name means, and recognizes names of passwords.

use super::{DIRECTIVES, Directive, ValueKind, find};

/// The directive that a misspelt name most likely means, among those that are allowed there.
#[must_use]
pub(crate) fn nearest(name: &str, inside: bool) -> Option<&'static Directive> {
    let allowed =
        || DIRECTIVES.iter().filter(|row| row.scope.allows(inside) && row.kind != ValueKind::Refused);
    let index = nearest_word(name, allowed().map(|row| row.name))?;
    find(index)
}

/// The known word that is nearest to `word`, if any is near.
#[must_use]
pub fn nearest_word<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    // At most a third of the letters may be wrong. With more, the words are not similar.
    let limit = 1.max(word.chars().count() / 3);
    known
        .filter_map(|candidate| {
            Some((distance_within(limit, &word, &candidate.to_ascii_lowercase())?, candidate))
        })
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// Whether the value of this name may be a password, also if the name is misspelt.
#[must_use]
pub(crate) fn may_name_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let known = DIRECTIVES.iter().filter(|row| row.is_secret()).map(|row| row.name);
    find(&name).is_none_or(Directive::is_secret)
        && (known
            .chain(["password"])
            .any(|known| name.contains(known) || distance_within(2, &name, known).is_some())
            || ["pass", "pwd"].iter().any(|part| name.contains(part)))
}

/// Length of the prefix of a word that is the name of a password directive.
#[must_use]
pub(crate) fn secret_prefix(word: &str) -> usize {
    let names = DIRECTIVES.iter().filter(|row| row.is_secret()).map(|row| row.name);
    names.filter(|name| word.starts_with(name)).map(str::len).max().unwrap_or(0)
}

/// Number of letters to change, add, remove or swap with their neighbour, if at most `limit`. It is at least the
/// difference of the lengths, which is compared first because that is cheaper.
fn distance_within(limit: usize, a: &str, b: &str) -> Option<usize> {
    let close = a.chars().count().abs_diff(b.chars().count()) <= limit;
    close.then(|| strsim::osa_distance(a, b)).filter(|far| *far <= limit)
}
