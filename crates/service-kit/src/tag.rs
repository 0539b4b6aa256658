//! Reading a tag id that a client wrote.

use http_edge::{ApiError, quoted};
use tag_id::TagId;

const TAKES: &str =
    "a hyphenated UUID or 26 characters of Crockford base32, e.g. 85e49ec3-de12-8001-bccf-0ce2e6986017";

/// Reads an id in any accepted form. Whether it proves itself is not looked at.
///
/// # Errors
/// 400 `invalid-tag-id`.
pub fn parse_tag(text: &str) -> Result<TagId, ApiError> {
    TagId::parse(text)
        .map_err(|_| ApiError::InvalidTagId(format!("tag_id is {}; it takes {TAKES}", quoted(text)).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_id_is_told_what_it_takes() {
        let tag = parse_tag("85e49ec3-de12-8001-bccf-0ce2e6986017").unwrap();
        assert_eq!(parse_tag(tag.crockford().as_ref()).unwrap(), tag);
        let refused = parse_tag("85e49ec3de128001bccf0ce2e6986017").unwrap_err();
        assert_eq!(refused.slug(), "invalid-tag-id");
        let detail = format!("{refused:?}");
        assert!(detail.contains("tag_id is \\\"85e49ec3de") && detail.contains("e.g. 85e49ec3-"), "{detail}");
    }
}
