//! An instant in a request, as in RFC 3339. The error for other texts shows an example.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use crate::domain::input::INSTANT;

/// An instant, e.g. `2099-01-31T00:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2099-01-31T00:00:00Z")]
pub(crate) struct Instant(pub(crate) OffsetDateTime);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ReadInstant)
    }
}

struct ReadInstant;

impl Visitor<'_> for ReadInstant {
    type Value = Instant;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an instant as in RFC 3339, e.g. {INSTANT}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Instant, E> {
        let read = OffsetDateTime::parse(text, &Rfc3339);
        read.map(Instant).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}
