//! The list of settings that a process has read, with their values. Reading a setting adds it, so none can be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use parking_lot::Mutex;

/// A name counts as misspelt if at most one character in four is wrong; two wrong characters are always allowed.
const CHARACTERS_PER_ERROR: usize = 4;
const ERRORS_ALLOWED: usize = 2;

/// Every name that was asked for.
#[derive(Debug, Default)]
pub(super) struct EnvRecord(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    settings: BTreeMap<String, String>,
    /// Names that may be followed by `_` and a number.
    numbered: BTreeSet<String>,
    /// Names that may be followed by `_FILE`.
    files: BTreeSet<String>,
}

impl EnvRecord {
    /// Notes the value of `name`; `shown` must not hold a secret.
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

    /// Those of `names` that are not settings but resemble one.
    pub(super) fn misspelt<'a>(&self, names: impl Iterator<Item = &'a String>) -> Vec<Misspelt> {
        let asked = self.0.lock();
        let known = asked.known();
        let strange = names.filter(|name| !known.contains(name.as_str()));
        let near = strange.filter_map(|name| {
            let meant = asked.nearest(name, &known)?;
            Some(Misspelt { name: name.clone(), meant })
        });
        near.collect()
    }
}

impl Asked {
    fn known(&self) -> BTreeSet<String> {
        let files = self.files.iter().map(|name| format!("{name}_FILE"));
        self.settings.keys().cloned().chain(files).collect()
    }

    /// The setting that `name` is closest to, if close enough. A number at its end stays.
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
        // The short names of other programs are too similar to each other.
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

/// A variable that is set but never read, and the setting that was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misspelt {
    /// The variable.
    pub name: String,
    /// The setting.
    pub meant: String,
}

impl fmt::Display for Misspelt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is set, and there is no such setting; did you mean {}?", self.name, self.meant)
    }
}

/// Every setting with its value, without secrets. `Display` writes one line each, `NAME=value`, in the order of names.
#[derive(Debug, Clone)]
pub struct Effective(BTreeMap<String, String>);

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, shown)| writeln!(f, "{name}={shown}"))
    }
}
