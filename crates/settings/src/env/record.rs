//! The settings that a process has read, with their values. Each read adds its setting, so none can be
//! missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use parking_lot::Mutex;

/// A name counts as misspelt if at most one character in four is wrong. Two wrong characters are always
/// allowed.
const CHARACTERS_PER_ERROR: usize = 4;
const ERRORS_ALLOWED: usize = 2;

/// Every name that was read.
#[derive(Debug, Default)]
pub(super) struct EnvRecord(Mutex<ReadNames>);

#[derive(Debug, Default)]
struct ReadNames {
    settings: BTreeMap<String, String>,
    /// Names that may be followed by `_` and a number.
    numbered: BTreeSet<String>,
    /// Names that may be followed by `_FILE`.
    files: BTreeSet<String>,
}

impl EnvRecord {
    /// Records the value of `name`. `shown` must not hold a secret.
    pub(super) fn note(&self, name: &str, shown: String) {
        self.0.lock().settings.insert(name.to_owned(), shown);
    }

    pub(super) fn note_numbered(&self, stem: &str) {
        self.0.lock().numbered.insert(stem.to_owned());
    }

    pub(super) fn note_file(&self, name: &str) {
        self.0.lock().files.insert(name.to_owned());
    }

    pub(super) fn effective(&self) -> Effective {
        Effective(self.0.lock().settings.clone())
    }

    /// Returns the `names` that are not settings but resemble one.
    pub(super) fn misspelt<'a>(&self, names: impl Iterator<Item = &'a String>) -> Vec<Misspelt> {
        let read = self.0.lock();
        let known = read.known();
        let unknown = names.filter(|name| !known.contains(name.as_str()));
        let near = unknown.filter_map(|name| {
            let meant = read.nearest(name, &known)?;
            Some(Misspelt { name: name.clone(), meant })
        });
        near.collect()
    }
}

impl ReadNames {
    fn known(&self) -> BTreeSet<String> {
        let files = self.files.iter().map(|name| format!("{name}_FILE"));
        self.settings.keys().cloned().chain(files).collect()
    }

    /// Returns the setting that `name` resembles most, if it is close enough. A number at the end stays.
    fn nearest(&self, name: &str, known: &BTreeSet<String>) -> Option<String> {
        let (plain, file) = name.strip_suffix("_FILE").map_or((name, ""), |plain| (plain, "_FILE"));
        let number = plain.rsplit_once('_').filter(|(_, number)| number.parse::<u16>().is_ok());
        let numbered = number.into_iter().flat_map(|(stem, number)| {
            let meant = move |known: &String| (format!("{known}_{number}{file}"), distance(stem, known));
            self.numbered.iter().map(meant)
        });
        let whole = known.iter().map(|known| (known.clone(), distance(name, known)));
        let (meant, errors) = numbered.chain(whole).min_by_key(|(_, errors)| *errors)?;
        let shares_prefix = first_word(name) == first_word(&meant);
        let allowed = if shares_prefix {
            (name.len() / CHARACTERS_PER_ERROR).max(ERRORS_ALLOWED)
        } else {
            ERRORS_ALLOWED
        };
        // Short names resemble too many variables of other programs.
        let long_enough = name.len() >= CHARACTERS_PER_ERROR * ERRORS_ALLOWED;
        (errors <= allowed && long_enough).then_some(meant)
    }
}

fn first_word(name: &str) -> String {
    name.split('_').next().unwrap_or_default().to_ascii_uppercase()
}

fn distance(name: &str, known: &str) -> usize {
    strsim::damerau_levenshtein(&name.to_ascii_uppercase(), known)
}

/// A variable that is set but not read, and the setting that it resembles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misspelt {
    /// The name of the variable.
    pub name: String,
    /// The name of the setting.
    pub meant: String,
}

impl fmt::Display for Misspelt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is set, and there is no such setting; did you mean {}?", self.name, self.meant)
    }
}

/// Every setting with its value, without secrets. `Display` writes one line per setting, `NAME=value`, sorted
/// by name.
#[derive(Debug, Clone)]
pub struct Effective(BTreeMap<String, String>);

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, shown)| writeln!(f, "{name}={shown}"))
    }
}
