//! Every link inside the documents leads to a file of the repository, and to a heading of it if it names one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{root, texts};

/// The links of a page, without those to other sites, and without code.
fn links(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split(')').next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                links.push(target.to_owned());
            }
        }
    }
    links
}

/// The anchors of the headings of a page, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !is_code) else { continue };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|sign| sign.is_alphanumeric() || " -_".contains(*sign));
        let anchor: String = kept.map(|sign| if sign == ' ' { '-' } else { sign }).collect();
        let number = (0..).find(|number| !anchors.contains(&numbered(&anchor, *number)));
        anchors.extend(number.map(|number| numbered(&anchor, number)));
    }
    anchors
}

/// Headings with the same text get numbers.
fn numbered(anchor: &str, number: usize) -> String {
    if number == 0 { anchor.to_owned() } else { format!("{anchor}-{number}") }
}

/// The links of a page that lead nowhere.
fn broken(path: &Path, page: &str) -> Vec<String> {
    let leads = |link: &String| {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() { path.to_owned() } else { path.with_file_name("").join(file) };
        let text =
            if anchor.is_empty() { String::new() } else { fs::read_to_string(&target).unwrap_or_default() };
        target.exists() && (anchor.is_empty() || anchors(&text).contains(anchor))
    };
    links(page).into_iter().filter(|link| !leads(link)).collect()
}

fn pages() -> Vec<(PathBuf, String)> {
    let folders = ["docs", "examples", "ipvs-rs", "perl-pattern"].map(|folder| texts(&root().join(folder)));
    let names = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name));
    let single = names.map(|path| (path.clone(), fs::read_to_string(&path).unwrap()));
    let all = folders.into_iter().flatten().chain(single);
    all.filter(|(path, _)| path.extension().is_some_and(|extension| extension == "md")).collect()
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let pages = pages();
    assert!(pages.len() > 20, "{} pages", pages.len());
    let mut wrong = Vec::new();
    for (path, page) in &pages {
        let name = path.strip_prefix(root()).unwrap_or(path).display();
        wrong.extend(broken(path, page).into_iter().map(|link| format!("{name}: {link}")));
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    let page = "# One two, `x`\n\n[a](#one-two-x) [b](#two) [c](CONTRIBUTING.md) [d](nothing.md) [e](https://a.example/x)\n\
                ```\n[f](nowhere)\n```\n## One two, `x`\n[g](#one-two-x-1)\n";
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("README.md");
    fs::write(&path, page).unwrap();
    fs::write(place.path().join("CONTRIBUTING.md"), "").unwrap();
    assert_eq!(broken(&path, page), ["#two", "nothing.md"]);
}
