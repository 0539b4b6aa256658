//! The answer that is kept: status, three headers, and the body's bytes.
//!
//! Stored as `u16be status`, then content type, location and entity tag, each a `u16be` length and its bytes (65535: none),
//! then the body.

use crate::error::IdempotencyError;

/// Longest body that is kept, bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Longest header value that is kept, bytes.
const MAX_HEADER: usize = 4096;
const NONE: u16 = u16::MAX;

/// An answer, as it was given the first time and is given again.
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
        let (status, mut rest) = bytes.split_first_chunk::<2>()?;
        let mut header = || -> Option<Option<String>> {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let length = u16::from_be_bytes(*length);
            if length == NONE {
                rest = after;
                return Some(None);
            }
            let (text, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            Some(Some(String::from_utf8(text.to_vec()).ok()?))
        };
        let (content_type, location, etag) = (header()?, header()?, header()?);
        Some(Self { status: u16::from_be_bytes(*status), content_type, location, etag, body: rest.to_vec() })
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
    fn an_answer_comes_back_as_it_was() {
        let bytes = answer().encode().unwrap();
        assert_eq!(StoredResponse::decode(&bytes), Some(answer()));
        for cut in 0..bytes.len() - answer().body.len() {
            assert_eq!(StoredResponse::decode(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        assert!(StoredResponse { body: vec![0; MAX_BODY], ..answer() }.encode().is_ok());
        for large in [
            StoredResponse { body: vec![0; MAX_BODY + 1], ..answer() },
            StoredResponse { location: Some("l".repeat(MAX_HEADER + 1)), ..answer() },
        ] {
            assert!(matches!(large.encode(), Err(IdempotencyError::AnswerTooLarge { .. })));
        }
    }
}
