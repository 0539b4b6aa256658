//! What a setting takes: a parser for the program, together with a description for the operator.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

/// The length limit of a wrong value in an error, in characters.
const MAX_SHOWN: usize = 80;

type Reader<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;
type Show<T> = Box<dyn Fn(&T) -> String + Send + Sync>;

/// The type of a setting: how its text is parsed, described and shown.
pub struct Kind<T> {
    takes: String,
    reader: Reader<T>,
    /// Formats a value for the effective settings. The default is its `Debug` form.
    show: Option<Show<T>>,
    /// Formats a wrong text for an error.
    redact: fn(&str) -> String,
}

impl<T> fmt::Debug for Kind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind").field("takes", &self.takes).finish_non_exhaustive()
    }
}

impl<T: 'static> Kind<T> {
    /// Creates a kind. `takes` ends the sentence "it takes …". The error of `reader` says what is wrong, in a
    /// few words on one line, or is empty.
    pub fn new(
        takes: impl Into<String>,
        reader: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { takes: takes.into(), reader: Box::new(reader), show: None, redact: without_login }
    }

    /// Formats values for the effective settings with `show`: as an operator would set them, without secrets.
    #[must_use]
    pub fn shown_as(self, show: impl Fn(&T) -> String + Send + Sync + 'static) -> Self {
        Self { show: Some(Box::new(show)), ..self }
    }

    /// Formats wrong texts for errors with `redact`, which omits what may be secret and returns one line.
    #[must_use]
    pub fn redacted_by(self, redact: fn(&str) -> String) -> Self {
        Self { redact, ..self }
    }

    /// Creates a kind that parses with the type's `FromStr` and shows its error.
    pub fn parsed(takes: impl Into<String>) -> Self
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        Self::new(takes, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// Converts the value to another type. `Debug` formats it unless [`Self::shown_as`] follows.
    pub fn map<U: 'static>(self, convert: impl Fn(T) -> U + Send + Sync + 'static) -> Kind<U> {
        let reader = self.reader;
        let reader = Box::new(move |text: &str| reader(text).map(&convert));
        Kind { takes: self.takes, reader, show: None, redact: self.redact }
    }
}

impl<T> Kind<T> {
    pub(super) fn takes(&self) -> &str {
        &self.takes
    }

    pub(super) fn read(&self, text: &str) -> Result<T, String> {
        (self.reader)(text)
    }

    /// Formats a value for the effective settings.
    pub(super) fn show(&self, value: &T) -> String
    where
        T: fmt::Debug,
    {
        self.show.as_ref().map_or_else(|| format!("{value:?}"), |show| show(value))
    }

    /// Formats a wrong text for an error.
    pub(super) fn shown(&self, text: &str) -> String {
        (self.redact)(text)
    }
}

/// Formats a text for an error: quoted, on one line, shortened, and without the part before an `@`, which
/// holds the password of a URL.
fn without_login(text: &str) -> String {
    let redacted = match text.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
            format!("{scheme}***@{after}")
        }
        None => text.to_owned(),
    };
    let cut: String = redacted.chars().take(MAX_SHOWN).collect();
    let more = if cut.len() < redacted.len() { "…" } else { "" };
    format!("\"{}\"{more}", cut.escape_debug())
}

/// Takes a whole number within `range`.
#[must_use]
pub fn whole(range: RangeInclusive<u64>) -> Kind<u64> {
    let takes = format!("a whole number from {} to {}", range.start(), range.end());
    Kind::new(takes, move |text| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.filter(|number| range.contains(number)).ok_or_else(String::new)
    })
}

/// Takes a whole number from 1 to `max`, for limits.
#[must_use]
pub fn non_zero_u32(max: u32) -> Kind<NonZeroU32> {
    whole(1..=u64::from(max)).map(|number| {
        let number = u32::try_from(number).ok().and_then(NonZeroU32::new);
        number.expect("the range begins at 1 and ends within u32")
    })
}

/// Takes a whole number from 1 to `max`, for sizes.
#[must_use]
pub fn non_zero_usize(max: u32) -> Kind<NonZeroUsize> {
    non_zero_u32(max).map(|number| NonZeroUsize::try_from(number).expect("usize has at least 32 bits"))
}

/// Takes a duration in milliseconds within `range`.
#[must_use]
pub fn millis(range: RangeInclusive<u64>) -> Kind<Duration> {
    in_unit("milliseconds", range, Duration::from_millis).shown_as(|span| span.as_millis().to_string())
}

/// Takes a duration in seconds within `range`.
#[must_use]
pub fn seconds(range: RangeInclusive<u64>) -> Kind<Duration> {
    in_unit("seconds", range, Duration::from_secs).shown_as(|span| span.as_secs().to_string())
}

fn in_unit(unit: &str, range: RangeInclusive<u64>, convert: fn(u64) -> Duration) -> Kind<Duration> {
    let number = whole(range);
    Kind { takes: format!("{unit}, {}", number.takes), ..number.map(convert) }
}

/// Takes a factor above 0 and up to 1.
#[must_use]
pub fn factor() -> Kind<f64> {
    Kind::new("a number above 0 and up to 1", |text| {
        let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && *number <= 1.0);
        number.ok_or_else(String::new)
    })
}

/// Takes `true` or `false`.
#[must_use]
pub fn switch() -> Kind<bool> {
    choice(&[("true", true), ("false", false)])
}

/// Takes one of the given words.
#[must_use]
pub fn choice<T: Clone + fmt::Debug + Send + Sync + 'static>(words: &[(&'static str, T)]) -> Kind<T> {
    let takes = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
    let words = words.to_vec();
    let shown: Vec<(String, &str)> =
        words.iter().map(|(word, value)| (format!("{value:?}"), *word)).collect();
    Kind::new(takes, move |text| {
        let chosen = words.iter().find(|(word, _)| *word == text);
        chosen.map(|(_, value)| value.clone()).ok_or_else(String::new)
    })
    .shown_as(move |value| {
        let value = format!("{value:?}");
        shown.iter().find(|(known, _)| *known == value).map_or(value, |(_, word)| (*word).to_owned())
    })
}

/// Takes text without control characters whose number of characters is within `length`.
#[must_use]
pub fn text(length: RangeInclusive<usize>) -> Kind<String> {
    let takes = format!("text of {} to {} characters", length.start(), length.end());
    Kind::new(takes, move |text| {
        let good = length.contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if good { Ok(text.to_owned()) } else { Err(String::new()) }
    })
    .shown_as(String::clone)
}

/// Takes an IP address and a port to listen on.
#[must_use]
pub fn bind_address() -> Kind<SocketAddr> {
    Kind::new("an IP address and a port, e.g. 127.0.0.1:8080", |text| text.parse().map_err(|_| String::new()))
}

/// Takes a URL to which paths are appended: `http://` or `https://`, a host, optionally a path, without user,
/// query and fragment. Removes slashes at its end.
#[must_use]
pub fn base_url() -> Kind<String> {
    Kind::new("a URL beginning with http:// or https://, without user, query and fragment", |text| {
        // `Url` accepts and repairs white space, backslashes and missing slashes, and keeps an empty user.
        let (_, rest) = text.split_once("://").ok_or_else(String::new)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let strict = text.is_ascii() && is_one_word(text) && !text.contains(['\\', '#', '?']);
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let web =
            matches!(url.scheme(), "http" | "https") && !authority.is_empty() && !authority.contains('@');
        if strict && web { Ok(text.trim_end_matches('/').to_owned()) } else { Err(String::new()) }
    })
    .shown_as(String::clone)
}

fn is_one_word(text: &str) -> bool {
    !text.chars().any(|character| character.is_whitespace() || character.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_takes<T: fmt::Debug>(kind: &Kind<T>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(kind.read(text).is_ok(), "{text:?} is {}", kind.takes());
        }
        for text in bad {
            assert!(kind.read(text).is_err(), "{text:?} is not {}", kind.takes());
        }
    }

    #[test]
    fn each_kind_takes_what_its_description_says() {
        assert_takes(
            &whole(0..=10),
            &["0", "10", "007"],
            &["", "11", "-1", "+1", " 1", "1.0", "99999999999999999999"],
        );
        assert_takes(&non_zero_u32(u32::MAX), &["1", "4294967295"], &["0", "4294967296"]);
        assert_takes(&non_zero_usize(100), &["1", "100"], &["0", "101"]);
        assert_takes(
            &factor(),
            &["0.5", "1", "1.0", "1e-3"],
            &["0", "1.01", "-0.5", "NaN", "inf", "half", ""],
        );
        assert_takes(&switch(), &["true", "false"], &["1", "TRUE", ""]);
        assert_takes(&text(1..=3), &["a", "é€x"], &["", "abcd", "a\nb"]);
        assert_takes(
            &bind_address(),
            &["127.0.0.1:0", "[::1]:8080"],
            &["localhost:80", "127.0.0.1", ":8080", ""],
        );
        assert_takes(
            &base_url(),
            &["http://127.0.0.1:8080", "https://tags.example/a/"],
            &[
                "",
                "tags.example",
                "ftp://h",
                "http://",
                "https:///h",
                "https:h",
                "https:/h",
                "https://h/?q",
                "https://h?",
                "https://h/#f",
                "https://u@h/",
                "https://@h",
                "https://h:70000",
                "https://h\\a",
                "https://h/a b",
                "https://h/é",
            ],
        );
    }

    #[test]
    fn a_value_is_read_in_its_unit() {
        assert_eq!(millis(1..=9_999).read("1500").unwrap(), Duration::from_millis(1_500));
        assert_eq!(seconds(1..=9_999).read("300").unwrap(), Duration::from_secs(300));
        assert_eq!(base_url().read("https://tags.example/a/").unwrap(), "https://tags.example/a");
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let kind = text(0..=99);
        for url in ["http://user:hunter2@host", "user:hunter2@host", "redis://:hunter2@a@host b", "hunter2@"]
        {
            assert!(!kind.shown(url).contains("hunter2"), "{}", kind.shown(url));
        }
        assert_eq!(kind.shown("http://user:hunter2@host:1/0"), r#""http://***@host:1/0""#);
    }
}
