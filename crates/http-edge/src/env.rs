//! Reading settings, so that a wrong one stops the start with one line that an operator can act on.
//!
//! [`Env`] is a snapshot: the process's variables, or a map in a test. A setting is read as a [`Kind`], which knows
//! what the variable takes and says so in the error. A variable that is set but empty is not the same as one that is
//! not set: a secret or URL that a deployment failed to fill in must not turn into the default.
//!
//! Secrets, and URLs that may hold a password, may come from a file (`NAME_FILE`); what they hold is never shown.
//!
//! Every name that is asked for is recorded with what it came to: [`Env::effective`] is the table of a process's settings, and
//! [`Env::misspelt`] compares the variables that are set with it.

mod kind;
mod record;

pub use kind::{
    Kind, base_url, bind_address, choice, factor, millis, non_zero_u32, non_zero_usize, seconds, switch,
    text, trusted_proxies, whole,
};
pub use record::{Effective, Misspelt};

use record::Record;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// Longest file a secret is read from, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Longest explanation that is shown, in characters: it may quote the value.
const MAX_WHY: usize = 200;

/// Why a setting stops the start. Its text is one line and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    /// There is no default, and it is not set.
    #[error("{name} is not set; it takes {takes}")]
    Missing {
        /// The variable.
        name: String,
        /// What it takes.
        takes: String,
    },
    /// Not text at all.
    #[error("{name} holds bytes that are not UTF-8; it takes {takes}")]
    NotUtf8 {
        /// The variable.
        name: String,
        /// What it takes.
        takes: String,
    },
    /// It cannot be parsed.
    #[error("{name} is {held}{}; it takes {takes}", because(why))]
    Invalid {
        /// The variable.
        name: String,
        /// What it held: quoted, escaped, cut, without a URL's password; for a secret, that it is not shown.
        held: String,
        /// What exactly is wrong with it; may be empty.
        why: String,
        /// What it takes.
        takes: String,
    },
    /// A secret is given twice.
    #[error("{name} and {name}_FILE are both set; set one of the two")]
    Both {
        /// The variable.
        name: String,
    },
    /// The file that should hold a secret cannot be read.
    #[error("{name}_FILE is {path:?}, and this file cannot be read: {source}")]
    File {
        /// The variable, without `_FILE`.
        name: String,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Two settings that cannot both hold.
    #[error("{names} contradict each other: {why}")]
    Contradiction {
        /// The variables, e.g. `BIND_ADDR and METRICS_BIND_ADDR`.
        names: String,
        /// What each holds and what would be right.
        why: String,
    },
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}

/// A snapshot of the environment. Its `Debug` shows names only. Clones share the record of what was asked for.
#[derive(Clone, Default)]
pub struct Env {
    values: BTreeMap<String, OsString>,
    record: Arc<Record>,
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
    /// The variables of this process as they are now; one whose name is not UTF-8 is none of ours.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
    }

    /// The names that are set and begin with `stem` and `_`, in order: settings of which there may be several, told apart by a number.
    pub fn names_numbered<'a>(&'a self, stem: &'a str) -> impl Iterator<Item = &'a str> {
        self.record.note_numbered(stem);
        let follows = move |name: &&str| name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('_'));
        self.values.keys().map(String::as_str).filter(follows)
    }

    /// The setting `name`, or `default` when it is not set.
    ///
    /// # Errors
    ///
    /// When it is set to something `kind` does not take.
    pub fn get<T: fmt::Debug>(&self, name: &str, default: T, kind: &Kind<T>) -> Result<T, EnvError> {
        let value = self.optional(name, kind)?;
        Ok(value.unwrap_or_else(|| self.or_default(name, default, kind)))
    }

    /// The setting `name`, or `None` when it is not set.
    ///
    /// # Errors
    ///
    /// When it is set to something `kind` does not take.
    pub fn optional<T: fmt::Debug>(&self, name: &str, kind: &Kind<T>) -> Result<Option<T>, EnvError> {
        let given = self.text_of(name, kind.takes())?;
        given.map(|text| self.read(name, name, text, kind)).transpose().inspect(|value| {
            if value.is_none() {
                self.record.note(name, NOT_SET.to_owned());
            }
        })
    }

    /// The setting `name`, which has no default.
    ///
    /// # Errors
    ///
    /// When it is not set, or set to something `kind` does not take.
    pub fn required<T: fmt::Debug>(&self, name: &str, kind: &Kind<T>) -> Result<T, EnvError> {
        self.optional(name, kind)?.ok_or_else(|| missing(name, kind))
    }

    /// The setting `name`, a part of which may be secret: from the variable or from the file named by `NAME_FILE`, less one trailing
    /// line break. Its kind decides what is shown of it.
    ///
    /// # Errors
    ///
    /// Those of [`Env::secret`].
    pub fn partly_secret<T: fmt::Debug>(&self, name: &str, kind: &Kind<T>) -> Result<Option<T>, EnvError> {
        let given = self.variable_or_file(name, kind.takes())?;
        given.map(|(from, text)| self.read(name, &from, &text, kind)).transpose().inspect(|value| {
            if value.is_none() {
                self.record.note(name, NOT_SET.to_owned());
            }
        })
    }

    /// As [`Self::partly_secret`], or `default` when neither is set.
    ///
    /// # Errors
    ///
    /// Those of [`Env::secret`].
    pub fn partly_secret_or<T: fmt::Debug>(
        &self,
        name: &str,
        default: T,
        kind: &Kind<T>,
    ) -> Result<T, EnvError> {
        let value = self.partly_secret(name, kind)?;
        Ok(value.unwrap_or_else(|| self.or_default(name, default, kind)))
    }

    /// The secret `name`, from the variable or from the file named by `NAME_FILE`, less one trailing line break.
    ///
    /// # Errors
    ///
    /// When both are set, the file cannot be read (or is over 64 KiB), or `kind` does not take what is there.
    pub fn secret<T>(&self, name: &str, kind: &Kind<T>) -> Result<Option<T>, EnvError> {
        let given = self.variable_or_file(name, kind.takes())?;
        let shown = given.as_ref().map_or_else(
            || NOT_SET.to_owned(),
            |(from, _)| if from == name { "(secret)".to_owned() } else { format!("(secret, from {from})") },
        );
        self.record.note(name, shown);
        given.map(|(from, text)| read_secret(&from, &text, kind)).transpose()
    }

    /// The secret `name`, without which there is no start.
    ///
    /// # Errors
    ///
    /// Those of [`Env::secret`], and when it is not set at all.
    pub fn required_secret<T>(&self, name: &str, kind: &Kind<T>) -> Result<T, EnvError> {
        self.secret(name, kind)?.ok_or_else(|| missing(&format!("{name} (or {name}_FILE)"), kind))
    }

    /// Every setting that was asked for so far, with what it came to.
    #[must_use]
    pub fn effective(&self) -> Effective {
        self.record.effective()
    }

    /// The variables that are set, were not asked for so far, and look like a setting that was.
    #[must_use]
    pub fn misspelt(&self) -> Vec<Misspelt> {
        self.record.misspelt(self.values.keys())
    }

    fn or_default<T: fmt::Debug>(&self, name: &str, default: T, kind: &Kind<T>) -> T {
        self.record.note(name, format!("{} (default)", kind.show(&default)));
        default
    }

    /// Reads `text`, which the variable `from` gave for the setting `name`.
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

    /// What `name`, or the file that `NAME_FILE` names, holds, and which of the two variables gave it.
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

/// What is shown of a setting that has no value.
const NOT_SET: &str = "(not set)";

fn missing<T>(name: &str, kind: &Kind<T>) -> EnvError {
    EnvError::Missing { name: name.to_owned(), takes: kind.takes().to_owned() }
}

/// The reason is left out too: it might quote the secret.
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
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::os::unix::ffi::OsStringExt;
    use std::time::Duration;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().copied().collect()
    }

    fn file(name: &str, contents: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("http-edge-env-{}-{name}", std::process::id()));
        std::fs::write(&path, contents).unwrap();
        path
    }

    fn hex_key() -> Kind<String> {
        Kind::new("64 hex digits", |text| {
            if text.len() == 64 { Ok(text.to_owned()) } else { Err(format!("{text} is too short")) }
        })
    }

    #[test]
    fn unset_is_the_default_and_empty_is_an_error() {
        let kind = millis(1..=60_000);
        let default = Duration::from_millis(100);
        assert_eq!(env(&[]).get("WAIT_MS", default, &kind).unwrap(), default);
        assert_eq!(
            env(&[("WAIT_MS", "7")]).get("WAIT_MS", default, &kind).unwrap(),
            Duration::from_millis(7)
        );
        let error = env(&[("WAIT_MS", "")]).get("WAIT_MS", default, &kind).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"WAIT_MS is ""; it takes milliseconds, a whole number from 1 to 60000"#
        );
    }

    #[test]
    fn an_error_is_one_line_however_odd_the_value() {
        let odd = format!("a\nb\u{1b}[31m{}", "x".repeat(500));
        let error = env(&[("N", &odd)]).get("N", NonZeroU32::MIN, &non_zero_u32(9)).unwrap_err().to_string();
        assert!(error.starts_with(r#"N is "a\nb\u{1b}[31mxxx"#), "{error}");
        assert!(error.ends_with("…; it takes a whole number from 1 to 9"), "{error}");
        assert!(!error.contains(['\n', '\u{1b}']) && error.len() < 200, "{error}");
    }

    #[test]
    fn a_reason_that_quotes_the_value_stays_on_the_line() {
        let odd = format!("a\nb{}", "x".repeat(500));
        let error = env(&[("TRUSTED_PROXIES", "10.0.0.0/8,\n/0")])
            .required("TRUSTED_PROXIES", &trusted_proxies())
            .unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        let quoting: Kind<String> = Kind::new("nothing", |text| Err(format!("{text} is wrong")));
        let error = env(&[("N", &odd)]).required("N", &quoting).unwrap_err().to_string();
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        let env: Env = [("REGION", OsString::from_vec(vec![0xff]))].into_iter().collect();
        let error = env.required("REGION", &text(1..=64)).unwrap_err();
        assert!(error.to_string().starts_with("REGION holds bytes that are not UTF-8; it takes"), "{error}");
    }

    #[test]
    fn a_missing_setting_says_what_it_takes() {
        let error = env(&[]).required_secret("TAG_MASTER_SECRET", &hex_key()).unwrap_err();
        let expected = "TAG_MASTER_SECRET (or TAG_MASTER_SECRET_FILE) is not set; it takes 64 hex digits";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_secret_comes_from_the_variable_or_the_file_and_never_from_both() {
        let key = "ab".repeat(32);
        for (ending, accepted) in [("", true), ("\n", true), ("\r\n", true), ("\n\n", false), (" ", false)] {
            let path = file(
                &format!("ending-{}", ending.len() + usize::from(ending == " ") * 9),
                format!("{key}{ending}").as_bytes(),
            );
            let from_file = env(&[("KEY_FILE", path.to_str().unwrap())]);
            assert_eq!(from_file.secret("KEY", &hex_key()).is_ok(), accepted, "{ending:?}");
            let both = env(&[("KEY", &key), ("KEY_FILE", path.to_str().unwrap())]);
            assert!(matches!(both.secret("KEY", &hex_key()), Err(EnvError::Both { .. })));
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(env(&[("KEY", &key)]).secret("KEY", &hex_key()).unwrap(), Some(key));
        assert_eq!(env(&[]).secret("KEY", &hex_key()).unwrap(), None);
    }

    #[test]
    fn a_wrong_secret_is_never_shown() {
        let path = file("wrong", b"hunter2");
        for pairs in [[("KEY", "hunter2")], [("KEY_FILE", path.to_str().unwrap())]] {
            let error = env(&pairs).secret("KEY", &hex_key()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            assert!(error.to_string().contains("it takes 64 hex digits"));
        }
        std::fs::remove_file(path).unwrap();
        assert_eq!(format!("{:?}", env(&[("KEY", "hunter2")])), r#"{"KEY"}"#);
    }

    #[test]
    fn a_secret_file_that_is_absent_binary_or_huge_is_named() {
        let binary = file("binary", b"\xff\xfe");
        let huge = file("huge", &vec![b'a'; 64 * 1024 + 1]);
        for path in ["/nonexistent/key", binary.to_str().unwrap(), huge.to_str().unwrap()] {
            let error = env(&[("KEY_FILE", path)]).secret("KEY", &text(1..=100_000)).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("KEY_FILE is {path:?}, and this file")),
                "{error}"
            );
            assert!(!error.to_string().contains('\n'));
        }
        std::fs::remove_file(binary).unwrap();
        std::fs::remove_file(huge).unwrap();
    }

    #[test]
    fn the_record_shows_every_setting_that_was_asked_for_and_no_secret() {
        let path = file("record", b"hunter2\n");
        let env = env(&[
            ("WAIT_MS", "7"),
            ("KEY_FILE", path.to_str().unwrap()),
            ("OTHER_KEY", "hunter2"),
            ("NOT_OURS", "x"),
        ]);
        env.get("WAIT_MS", Duration::ZERO, &millis(0..=9)).unwrap();
        env.get("PAUSE_MS", Duration::from_secs(2), &millis(0..=9_000)).unwrap();
        env.get("MODE", 2, &choice(&[("one", 1), ("two", 2)])).unwrap();
        env.optional("AREA", &text(1..=9)).unwrap();
        env.secret("KEY", &text(1..=9)).unwrap();
        env.secret("OTHER_KEY", &text(1..=9)).unwrap();
        env.secret("THIRD_KEY", &text(1..=9)).unwrap();
        let expected = "AREA=(not set)\nKEY=(secret, from KEY_FILE)\nMODE=two (default)\nOTHER_KEY=(secret)\n\
            PAUSE_MS=2000 (default)\nTHIRD_KEY=(not set)\nWAIT_MS=7\n";
        assert_eq!(env.effective().to_string(), expected);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_setting_that_is_secret_in_part_may_come_from_a_file_and_is_shown_by_its_kind() {
        let kind = || {
            Kind::new("an address", |text| {
                if text.contains("bad") { Err("it is bad".to_owned()) } else { Ok(text.len()) }
            })
            .shown_as(|length| format!("an address of {length}"))
            .redacted_by(|_| "***".to_owned())
        };
        let path = file("partly", b"user:hunter2@host\n");
        let from_file = env(&[("URL_FILE", path.to_str().unwrap())]);
        assert_eq!(from_file.partly_secret("URL", &kind()).unwrap(), Some(17));
        assert_eq!(from_file.effective().to_string(), "URL=an address of 17 (from URL_FILE)\n");
        let both = env(&[("URL_FILE", path.to_str().unwrap()), ("URL", "x")]);
        assert!(matches!(both.partly_secret("URL", &kind()), Err(EnvError::Both { .. })));
        std::fs::write(&path, "bad hunter2").unwrap();
        let error = from_file.partly_secret("URL", &kind()).unwrap_err().to_string();
        assert_eq!(error, "URL_FILE is *** (it is bad); it takes an address");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_misspelt_name_is_found_with_the_one_that_was_meant() {
        let asked = |name: &str| {
            let env = env(&[(name, "/dev/null"), ("PATH", "/bin"), ("REDIS_PORT", "tcp://10.0.0.1:6379")]);
            for known in [
                "REDIS_URL",
                "REDIS_POOL_SIZE",
                "RATE_LIMIT_IP_PER_MINUTE",
                "REGION",
                "BIND_ADDR",
                "RUST_LOG",
            ] {
                env.optional(known, &text(0..=99)).unwrap();
            }
            env.secret("TAG_SECRET", &text(0..=99)).unwrap();
            let _ = env.names_numbered("TAG_SECRET").count();
            env.misspelt().into_iter().map(|found| found.meant).collect::<Vec<_>>()
        };
        for (name, meant) in [
            ("REDIS_POOL_SZIE", "REDIS_POOL_SIZE"),
            ("REDIS_POOLSIZE", "REDIS_POOL_SIZE"),
            ("redis_pool_size", "REDIS_POOL_SIZE"),
            ("RATE_LIMIT_PER_MINUTE", "RATE_LIMIT_IP_PER_MINUTE"),
            ("REDSI_URL", "REDIS_URL"),
            ("BIND_ADDRESS", "BIND_ADDR"),
            ("TAG_SECERT", "TAG_SECRET"),
            ("TAG_SECRET_FIEL", "TAG_SECRET_FILE"),
            ("TAG_SECERT_12", "TAG_SECRET_12"),
            ("TAG_SECERT_12_FILE", "TAG_SECRET_12_FILE"),
        ] {
            assert_eq!(asked(name), [meant], "{name}");
        }
        for right in [
            "REDIS_URL",
            "TAG_SECRET_FILE",
            "RUST_BACKTRACE",
            "HOME",
            "AWS_REGION",
            "REDIS_SERVICE_HOST",
            "LEGION",
        ] {
            assert!(asked(right).is_empty(), "{right}: {:?}", asked(right));
        }
    }

    #[test]
    fn numbered_names_are_found() {
        let env = env(&[
            ("TAG_MASTER_SECRET", "a"),
            ("TAG_MASTER_SECRET_2", "b"),
            ("TAG_MASTER_SECRET_3_FILE", "c"),
            ("TAG_MASTER_SECRETS", "d"),
        ]);
        let found: Vec<&str> = env.names_numbered("TAG_MASTER_SECRET").collect();
        assert_eq!(found, ["TAG_MASTER_SECRET_2", "TAG_MASTER_SECRET_3_FILE"]);
    }
}
