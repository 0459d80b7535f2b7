//! The names of settings in files and in the environment, and the earlier names that are still accepted.

use std::collections::BTreeMap;

use config_file::{ConfigError, Map, Source, Value, ValueKind};

/// Section, earlier name, name.
const RENAMED: [(&str, &str, &str); 5] = [
    ("checks", "limit", "max_concurrent"),
    ("mail", "hello", "helo_name"),
    ("mail", "login", "username"),
    ("mail", "queue", "queue_limit"),
    ("paths", "ha", "config_dir"),
];

const PREFIX: &str = "LDIRECTORD_RS";

/// The variable of a key such as `table.backend`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}_{}", key.to_uppercase().replace('.', "__"))
}

/// All variables of the environment that are settings.
pub(super) fn environment() -> config_file::Environment {
    config_file::Environment::with_prefix(PREFIX).prefix_separator("_").separator("__").try_parsing(true)
}

/// Settings of one source: tables of a file, or dotted keys of the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(Map<String, Value>);

impl Source for Values {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl Values {
    /// Reads a source, and replaces earlier names. If a source has both names, the new one counts. `rename` gets the
    /// keys with the earlier and the new name.
    pub fn read(source: &dyn Source, mut rename: impl FnMut([&str; 3])) -> Result<Values, ConfigError> {
        let mut values = source.collect()?;
        for names @ [section, old, new] in RENAMED.map(|(section, old, new)| [section, old, new]) {
            let dotted = |name: &str| format!("{section}.{name}");
            let table = match values.get_mut(section).map(|value| &mut value.kind) {
                Some(ValueKind::Table(table)) => replace(table, old, new),
                _ => false,
            };
            if replace(&mut values, &dotted(old), &dotted(new)) || table {
                rename(names);
            }
        }
        Ok(Values(values))
    }

    /// Each value as a source of its own, by key.
    pub fn each(&self) -> BTreeMap<String, Values> {
        let alone = |(key, value): (&String, &Value)| {
            (key.clone(), Values(Map::from_iter([(key.clone(), value.clone())])))
        };
        self.0.iter().map(alone).collect()
    }
}

/// Moves a value to a new key unless that key has a value. Returns whether the old key was there.
fn replace(values: &mut Map<String, Value>, old: &str, new: &str) -> bool {
    let Some(value) = values.remove(old) else { return false };
    values.entry(new.to_owned()).or_insert(value);
    true
}

/// The key as the operator wrote it in the environment: its earlier name if only that one is set.
pub(super) fn written(key: &str) -> String {
    let is_set = |key: &str| std::env::var_os(variable(key)).is_some();
    let earlier = RENAMED.into_iter().find(|(section, _, new)| format!("{section}.{new}") == key);
    let earlier = earlier.map(|(section, old, _)| format!("{section}.{old}"));
    variable(&earlier.filter(|earlier| !is_set(key) && is_set(earlier)).unwrap_or_else(|| key.to_owned()))
}
