//! Tests of settings from a file and from the environment.

use config_file::{Config, File, FileFormat};

use super::*;

/// The installed file contains the defaults.
#[test]
fn the_sample_says_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/ldirectord-rs.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let bare: String = text
        .lines()
        .map(|line| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let built = Config::builder().add_source(File::from_str(&bare, FileFormat::Toml)).build().unwrap();
    assert_eq!(built.try_deserialize::<Settings>().unwrap(), Settings::default());
    for section in
        ["[table]", "[checks]", "[commands]", "[log]", "[stop]", "[mail]", "[privileges]", "[paths]"]
    {
        assert!(bare.contains(section), "{section}");
    }
}

/// The valid names in the error about an unknown name: keys of a section, or without one the sections.
fn expected(section: &str) -> Vec<String> {
    let text = format!("{section}\nno-such-setting = {{}}\n");
    let built = Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build().unwrap();
    let error = built.try_deserialize::<Settings>().unwrap_err().to_string();
    let (_, names) = error.split_once("expected").unwrap_or_else(|| panic!("{error}"));
    // The place can follow the names.
    let names = names.split(" for key").next().unwrap_or(names);
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The manual takes the settings from the sample, so that none may be missing there.
#[test]
fn the_sample_has_every_setting() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/ldirectord-rs.toml");
    let sample = std::fs::read_to_string(path).unwrap();
    let sections = expected("");
    assert!(sections.contains(&"table".to_owned()), "{sections:?}");
    for section in sections {
        let head = format!("\n[{section}]\n");
        let (_, rest) = sample.split_once(&head).unwrap_or_else(|| panic!("no [{section}] in {path}"));
        let part = rest.split("\n[").next().unwrap_or_default();
        let keys = expected(&format!("[{section}]"));
        assert!(!keys.is_empty(), "{section}");
        for key in keys {
            assert!(part.contains(&format!("\n#{key} = ")), "{key} of [{section}] is not in {path}");
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    for (text, words) in [
        ("[table]\nbackend = \"kernal\"\n", "kernal"),
        ("[table]\nbakend = \"kernel\"\n", "bakend"),
        ("[tabel]\n", "tabel"),
        ("[stop]\ngrace = -1\n", "`stop.grace`"),
        ("[mail]\nqeue_limit = 1\n", "queue_limit"),
        ("[stop\n", "settings.toml"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Settings::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("settings.toml"), "{text}: {error}");
    }
    assert!(Settings::load(Some(&directory.path().join("missing"))).is_err());
}

fn loaded(text: &str) -> Result<Settings, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    Settings::load(Some(file.path())).map(|(settings, _)| settings).map_err(|error| error.to_string())
}

#[test]
fn b6_words_that_do_not_exist_are_refused() {
    for (word, level) in [("warning", LogLevel::Warn), ("warn", LogLevel::Warn), ("ERROR", LogLevel::Error)] {
        assert_eq!(loaded(&format!("[log]\nlevel = \"{word}\"\n")).unwrap().log.level, level, "{word}");
    }
    for (section, key, words) in [
        ("log", "level", "`error`, `warn`"),
        ("log", "format", "`text` or `json`"),
        ("table", "backend", "`kernel` or `memory`"),
        ("mail", "security", "`opportunistic`, `starttls`"),
    ] {
        for wrong in ["loud", "", "off", "ldirectord_rs=debug"] {
            let error = loaded(&format!("[{section}]\n{key} = \"{wrong}\"\n")).unwrap_err();
            let key = format!("`{section}.{key}`");
            assert!(error.contains(&key) && error.contains(words), "{wrong}: {error}");
        }
    }
}

#[test]
fn c3_a_mode_of_monitor_files_is_octal_and_safe() {
    let mode = |value: &str| loaded(&format!("[log]\nmonitor_mode = {value}\n"));
    for (value, wanted) in [("\"0600\"", 0o600), ("\"640\"", 0o640), ("640", 0o640), ("\"0664\"", 0o664)] {
        assert_eq!(mode(value).unwrap().log.monitor_mode, wanted, "{value}");
    }
    for wrong in
        ["\"0666\"", "\"0755\"", "\"0444\"", "\"4644\"", "\"0689\"", "\"rw-r--r--\"", "\"\"", "0o640"]
    {
        let error = mode(wrong).unwrap_err();
        assert!(error.contains("`log.monitor_mode`") && error.contains("must be octal"), "{wrong}: {error}");
    }
}

/// Tries every number of the sample, so that new settings are included.
#[test]
fn b6_numbers_that_overflow_are_refused_with_range() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/ldirectord-rs.toml");
    let (mut section, mut tried) = (String::new(), 0);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        if line.starts_with('[') {
            line.clone_into(&mut section);
        }
        let Some((key, value)) = line.strip_prefix('#').and_then(|line| line.split_once(" = ")) else {
            continue;
        };
        if value.trim_matches('"').starts_with(|c: char| c.is_ascii_digit()) && key != "monitor_mode" {
            tried += 1;
            for wrong in ["9223372036854775807", "-1"] {
                let error = loaded(&format!("{section}\n{key} = {wrong}\n")).unwrap_err();
                assert!(error.contains(key), "{error}");
            }
        }
    }
    assert!(tried >= 7, "{tried}");
    let error = loaded("[stop]\ngrace = 9223372036854775807\n").unwrap_err();
    assert!(
        error.contains("\"9223372036854775807\" is not valid: must be a time from 0 s to 1 h"),
        "{error}"
    );
    for (zero, range) in [
        ("[checks]\nmax_concurrent = 0\n", "must be a number from 1 to 1000000"),
        ("[commands]\ntimeout = 0\n", "a time from 1 s to 24 h"),
        ("[mail]\nqueue_limit = 0\n", "must be a number from 1 to 1000000"),
        (
            "[mail]\nport = 99999\n",
            "\"99999\" is not valid: must be a number from 1 to 65535 for key `mail.port`",
        ),
        ("[mail]\nport = -1\n", "\"-1\" is not valid: must be a number from 1 to 65535"),
        ("[table]\nverify_interval = \"10ms\"\n", "must be 0 or a time from 1 s to 366 days"),
    ] {
        let error = loaded(zero).unwrap_err();
        assert!(error.contains(range), "{zero}: {error}");
    }
    for path in ["", "run"] {
        let error = loaded(&format!("[paths]\nrun = \"{path}\"\n")).unwrap_err();
        assert!(error.contains("`paths.run`: must be an absolute path"), "{error}");
    }
}

#[test]
fn the_directories_are_found_in_wrong_settings() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    for text in [
        "[tabel]\n[paths]\nrun = \"/r\" # here\n",
        "[paths]\nbroken = \nrun = \"/r\"\n[stop\ngrace = 1\n",
        "[stop\n[paths]\nrnu = \"/x\"\nrun = \"/r\"\n[log]\nrun = \"/x\"\n",
        "paths.run = \"/r\"\n[stop]\ngrace = -1\n",
    ] {
        std::fs::write(&path, text).unwrap();
        assert!(Settings::load(Some(&path)).is_err(), "{text}");
        let paths = PathSettings { run: PathBuf::from("/r"), ..PathSettings::default() };
        assert_eq!(Settings::places(Some(&path)), Settings { paths, ..Settings::default() }, "{text}");
    }
    assert_eq!(Settings::places(Some(&directory.path().join("missing"))), Settings::default());
}

#[test]
fn times_have_a_unit_or_are_seconds() {
    for (value, milliseconds) in
        [("\"2500ms\"", 2500), ("\"4s\"", 4000), ("\"2m\"", 120_000), ("7", 7000), ("\"7\"", 7000)]
    {
        let settings = loaded(&format!("[stop]\ngrace = {value}\n")).unwrap();
        assert_eq!(settings.stop.grace, Duration::from_millis(milliseconds), "{value}");
    }
    assert_eq!(loaded("[table]\nverify_interval = 0\n").unwrap().table.verify_interval(), None);
}

#[test]
fn earlier_names_are_accepted_with_a_warning_each() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    let text = "paths.ha = \"/h\"\n[mail]\nhello = \"mx\"\nlogin = \"me\"\nqueue = 3\n[checks]\nlimit = 4\n";
    std::fs::write(&path, text).unwrap();
    let (settings, warnings) = Settings::load(Some(&path)).unwrap();
    let Settings { mail, checks, paths, .. } = settings;
    assert_eq!((mail.helo_name.as_str(), mail.username.as_str(), mail.queue_limit), ("mx", "me", 3));
    assert_eq!((checks.max_concurrent, paths.config_dir), (4, PathBuf::from("/h")));
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    let expected = format!("{}: [mail] hello is now helo_name; the old name still works", path.display());
    assert!(warnings.contains(&expected), "{warnings:?}");
    // The new name counts.
    std::fs::write(&path, "[mail]\nqueue = 3\nqueue_limit = 5\n").unwrap();
    let (settings, warnings) = Settings::load(Some(&path)).unwrap();
    assert_eq!((settings.mail.queue_limit, warnings.len()), (5, 1));
    assert_eq!(Settings::places(Some(&path)).paths, PathSettings::default());
    std::fs::write(&path, "[nonsense]\n[paths]\nha = \"/h\"\n").unwrap();
    assert_eq!(Settings::places(Some(&path)).paths.config_dir, PathBuf::from("/h"));
}
