//! The stored response: status, three headers and body.
//!
//! Layout: `u16be status`, then content type, location and entity tag, each a `u16be` length (65535: absent)
//! and its bytes, then the body.

use crate::error::IdempotencyError;

/// Longest stored body, bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Longest stored header value, bytes.
const MAX_HEADER: usize = 4096;
const NONE: u16 = u16::MAX;

/// The response to the first try, which every retry receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl StoredResponse {
    fn headers(&self) -> [Option<&String>; 3] {
        [self.content_type.as_ref(), self.location.as_ref(), self.etag.as_ref()]
    }

    /// # Errors
    /// [`IdempotencyError::AnswerTooLarge`].
    pub(crate) fn encode(&self) -> Result<Vec<u8>, IdempotencyError> {
        let too_large = |bytes, most| Err(IdempotencyError::AnswerTooLarge { bytes, most });
        if self.body.len() > MAX_BODY {
            return too_large(self.body.len(), MAX_BODY);
        }
        let mut bytes = self.status.to_be_bytes().to_vec();
        for header in self.headers() {
            let text = header.map_or("", String::as_str);
            if text.len() > MAX_HEADER {
                return too_large(text.len(), MAX_HEADER);
            }
            let length = u16::try_from(text.len()).ok().filter(|_| header.is_some()).unwrap_or(NONE);
            bytes.extend(length.to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(&self.body);
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (status, rest) = bytes.split_first_chunk::<2>()?;
        let (content_type, rest) = take_header(rest)?;
        let (location, rest) = take_header(rest)?;
        let (etag, body) = take_header(rest)?;
        Some(Self { status: u16::from_be_bytes(*status), content_type, location, etag, body: body.to_vec() })
    }
}

/// Splits off the first header and returns it with the remaining bytes; `None` if the bytes are damaged.
fn take_header(bytes: &[u8]) -> Option<(Option<String>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    match u16::from_be_bytes(*length) {
        NONE => Some((None, rest)),
        length => {
            let (text, rest) = rest.split_at_checked(usize::from(length))?;
            Some((Some(String::from_utf8(text.to_vec()).ok()?), rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> StoredResponse {
        StoredResponse {
            status: 201,
            content_type: Some("application/json".to_owned()),
            location: Some(String::new()),
            etag: None,
            body: b"{\"id\":1}".to_vec(),
        }
    }

    #[test]
    fn a_response_round_trips_and_a_truncated_one_is_rejected() {
        let bytes = answer().encode().unwrap();
        assert_eq!(StoredResponse::decode(&bytes), Some(answer()));
        for cut in 0..bytes.len() - answer().body.len() {
            assert_eq!(StoredResponse::decode(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn body_and_headers_are_bounded() {
        assert!(StoredResponse { body: vec![0; MAX_BODY], ..answer() }.encode().is_ok());
        for large in [
            StoredResponse { body: vec![0; MAX_BODY + 1], ..answer() },
            StoredResponse { location: Some("l".repeat(MAX_HEADER + 1)), ..answer() },
        ] {
            assert!(matches!(large.encode(), Err(IdempotencyError::AnswerTooLarge { .. })));
        }
    }
}
