//! Reads variables. A wrong variable stops the start with one line that tells the operator what to change.
//!
//! A variable that is set but empty differs from one that is not set: if a deployment fails to fill in a
//! secret or a URL, the default must not take its place. Secrets, and URLs that may hold a password, may come
//! from a file (`NAME_FILE`) and are never shown.
//!
//! Each read records the name and the value: [`Env::effective`] lists the settings of the process, and
//! [`Env::misspelt`] finds variables that resemble a setting but are none.

mod record;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use keyring::KeyNumber;

use self::record::EnvRecord;
pub use self::record::{Effective, Misspelt};
use crate::Kind;

/// The size limit of a secret's file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The length limit of an explanation in an error, in characters: it may quote the value.
const MAX_WHY: usize = 200;

/// The reason why a setting stops the start. Its text is one line and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    /// The variable is not set and has no default.
    #[error("{name} is not set; it takes {takes}")]
    Missing {
        /// The variable.
        name: String,
        /// The values that the variable takes.
        takes: String,
    },
    /// The variable is not UTF-8.
    #[error("{name} holds bytes that are not UTF-8; it takes {takes}")]
    NotUtf8 {
        /// The variable.
        name: String,
        /// The values that the variable takes.
        takes: String,
    },
    /// The variable cannot be parsed.
    #[error("{name} is {held}{}; it takes {takes}", because(why))]
    Invalid {
        /// The variable.
        name: String,
        /// The value: quoted, escaped, shortened, without the password of a URL. For a secret, a phrase
        /// instead.
        held: String,
        /// What is wrong with the value, or an empty text.
        why: String,
        /// The values that the variable takes.
        takes: String,
    },
    /// Both variables of a secret are set.
    #[error("{name} and {name}_FILE are both set; set one of the two")]
    Both {
        /// The variable.
        name: String,
    },
    /// The file of a secret cannot be read.
    #[error("{name}_FILE is {path:?}, and this file cannot be read: {source}")]
    File {
        /// The variable, without `_FILE`.
        name: String,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The settings contradict each other.
    #[error("{names} contradict each other: {why}")]
    Contradiction {
        /// The variables, e.g. `BIND_ADDR and METRICS_BIND_ADDR`.
        names: String,
        /// Why they contradict each other, and what to change.
        why: String,
    },
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}

/// A snapshot of the environment: the variables of the process, or those of a test.
///
/// `Debug` shows only names. Clones share the record of the settings that were read.
#[derive(Clone, Default)]
pub struct Env {
    values: BTreeMap<String, OsString>,
    record: Arc<EnvRecord>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { values, record: Arc::default() }
    }
}

impl Env {
    /// Reads the variables of this process. Ignores variables whose name is not UTF-8.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
    }

    /// Returns the numbers n of all variables `<stem>_<n>` and `<stem>_<n>_FILE` that are set, each once. The
    /// error calls such a number `what`.
    ///
    /// # Errors
    /// Fails if a variable begins with `<stem>_` and does not end in a number from 1 to 4095.
    pub(crate) fn numbers_after(&self, stem: &str, what: &str) -> Result<Vec<KeyNumber>, EnvError> {
        self.record.note_numbered(stem);
        let mut numbers = Vec::new();
        for name in self.values.keys() {
            let suffix = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('_'));
            let Some(suffix) = suffix.filter(|suffix| *suffix != "FILE") else { continue };
            let number = suffix.strip_suffix("_FILE").unwrap_or(suffix);
            let number = number.parse::<KeyNumber>().map_err(|_| EnvError::Invalid {
                name: name.to_owned(),
                held: "set".to_owned(),
                why: format!("its name does not end in a valid {what}"),
                takes: format!("a name like {stem}_7 or {stem}_7_FILE, numbers 1 to 4095"),
            })?;
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Returns the setting `name`, or `default` if it is not set.
    ///
    /// # Errors
    /// Fails if `kind` does not take the value.
    pub fn get<T: fmt::Debug>(&self, name: &str, default: T, kind: &Kind<T>) -> Result<T, EnvError> {
        let value = self.optional(name, kind)?;
        Ok(value.unwrap_or_else(|| self.or_default(name, default, kind)))
    }

    /// Returns the setting `name`, or `None` if it is not set.
    ///
    /// # Errors
    /// Fails if `kind` does not take the value.
    pub fn optional<T: fmt::Debug>(&self, name: &str, kind: &Kind<T>) -> Result<Option<T>, EnvError> {
        let given = self.text_of(name, kind.takes())?;
        given.map(|text| self.read(name, name, text, kind)).transpose().inspect(|value| {
            if value.is_none() {
                self.record.note(name, NOT_SET.to_owned());
            }
        })
    }

    /// Returns the setting `name`, which has no default.
    ///
    /// # Errors
    /// Fails if it is not set, or if `kind` does not take the value.
    pub fn required<T: fmt::Debug>(&self, name: &str, kind: &Kind<T>) -> Result<T, EnvError> {
        self.optional(name, kind)?.ok_or_else(|| missing(name, kind))
    }

    /// Returns the setting `name`, part of which may be secret, from the variable or from the file that
    /// `NAME_FILE` names, without one trailing line break. Its kind selects what is shown.
    ///
    /// # Errors
    /// Fails as [`Env::secret`] does.
    pub fn partly_secret<T: fmt::Debug>(&self, name: &str, kind: &Kind<T>) -> Result<Option<T>, EnvError> {
        let given = self.variable_or_file(name, kind.takes())?;
        given.map(|(from, text)| self.read(name, &from, &text, kind)).transpose().inspect(|value| {
            if value.is_none() {
                self.record.note(name, NOT_SET.to_owned());
            }
        })
    }

    /// Works as [`Self::partly_secret`] with a default.
    ///
    /// # Errors
    /// Fails as [`Env::secret`] does.
    pub fn partly_secret_or<T: fmt::Debug>(
        &self,
        name: &str,
        default: T,
        kind: &Kind<T>,
    ) -> Result<T, EnvError> {
        let value = self.partly_secret(name, kind)?;
        Ok(value.unwrap_or_else(|| self.or_default(name, default, kind)))
    }

    /// Returns the secret `name` from the variable or from the file that `NAME_FILE` names, without one
    /// trailing line break.
    ///
    /// # Errors
    /// Fails if both are set, the file cannot be read or is longer than 64 KiB, or `kind` does not take the
    /// content.
    pub fn secret<T>(&self, name: &str, kind: &Kind<T>) -> Result<Option<T>, EnvError> {
        let given = self.variable_or_file(name, kind.takes())?;
        let shown = given.as_ref().map_or_else(
            || NOT_SET.to_owned(),
            |(from, _)| if from == name { "(secret)".to_owned() } else { format!("(secret, from {from})") },
        );
        self.record.note(name, shown);
        given.map(|(from, text)| read_secret(&from, &text, kind)).transpose()
    }

    /// Returns the secret `name`, which has no default.
    ///
    /// # Errors
    /// Fails as [`Env::secret`] does, and if the secret is not set.
    pub fn required_secret<T>(&self, name: &str, kind: &Kind<T>) -> Result<T, EnvError> {
        self.secret(name, kind)?.ok_or_else(|| missing(&format!("{name} (or {name}_FILE)"), kind))
    }

    /// Returns every setting that was read so far, with its value.
    #[must_use]
    pub fn effective(&self) -> Effective {
        self.record.effective()
    }

    /// Returns the variables that were not read so far and resemble a setting that was.
    #[must_use]
    pub fn misspelt(&self) -> Vec<Misspelt> {
        self.record.misspelt(self.values.keys())
    }

    fn or_default<T: fmt::Debug>(&self, name: &str, default: T, kind: &Kind<T>) -> T {
        self.record.note(name, format!("{} (default)", kind.show(&default)));
        default
    }

    /// Parses `text`, the value of the variable `from`, as the setting `name`.
    fn read<T: fmt::Debug>(&self, name: &str, from: &str, text: &str, kind: &Kind<T>) -> Result<T, EnvError> {
        let value = kind.read(text).map_err(|why| EnvError::Invalid {
            name: from.to_owned(),
            held: kind.shown(text),
            why: why.replace(char::is_control, " ").chars().take(MAX_WHY).collect(),
            takes: kind.takes().to_owned(),
        })?;
        let source = if from == name { String::new() } else { format!(" (from {from})") };
        self.record.note(name, format!("{}{source}", kind.show(&value)));
        Ok(value)
    }

    fn text_of(&self, name: &str, takes: &str) -> Result<Option<&str>, EnvError> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        let not_utf8 = || EnvError::NotUtf8 { name: name.to_owned(), takes: takes.to_owned() };
        value.to_str().map(Some).ok_or_else(not_utf8)
    }

    /// Returns the variable that sets `name` (`NAME` or `NAME_FILE`), and its text.
    fn variable_or_file(&self, name: &str, takes: &str) -> Result<Option<(String, String)>, EnvError> {
        self.record.note_file(name);
        let file_name = format!("{name}_FILE");
        match (self.text_of(name, takes)?, self.values.get(&file_name)) {
            (Some(_), Some(_)) => Err(EnvError::Both { name: name.to_owned() }),
            (Some(text), None) => Ok(Some((name.to_owned(), text.to_owned()))),
            (None, Some(path)) => {
                let path = PathBuf::from(path);
                match contents(&path) {
                    Ok(text) => Ok(Some((file_name, without_line_break(&text).to_owned()))),
                    Err(source) => Err(EnvError::File { name: name.to_owned(), path, source }),
                }
            }
            (None, None) => Ok(None),
        }
    }
}

const NOT_SET: &str = "(not set)";

fn missing<T>(name: &str, kind: &Kind<T>) -> EnvError {
    EnvError::Missing { name: name.to_owned(), takes: kind.takes().to_owned() }
}

/// Parses a secret. The error omits the reason, which might quote the secret.
fn read_secret<T>(name: &str, text: &str, kind: &Kind<T>) -> Result<T, EnvError> {
    kind.read(text).map_err(|_| EnvError::Invalid {
        name: name.to_owned(),
        held: "set to something else (a secret, not shown)".to_owned(),
        why: String::new(),
        takes: kind.takes().to_owned(),
    })
}

fn contents(path: &PathBuf) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 64 KiB"));
    }
    Ok(text)
}

fn without_line_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests;
