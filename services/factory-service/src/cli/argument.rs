//! Arguments that several commands take.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Checks that an argument is an instant, and returns it as the routes take it.
pub(super) fn instant(text: &str) -> Result<String, String> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it takes an instant as in RFC 3339, e.g. 2026-11-01T00:00:00Z".to_owned()),
    }
}
