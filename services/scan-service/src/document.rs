//! Adds patterns, enumerations and examples to the OpenAPI document, from the constants that the code uses.

use catalog::Lifecycle;
use http_edge::api_values::{
    Values, describe_everywhere, describe_parameter, describe_property, show_requests,
};
use input::LINES_PATTERN;
use tag_id::TagId;
use utoipa::openapi::OpenApi;

use crate::domain::risk::factor_names;

/// The tag id in the examples.
const TAG: &str = "85e49ec3-de12-8001-bccf-0ce2e6986017";

/// Completes the document. Every example request succeeds on a service where the example tag was minted.
pub(crate) fn complete(document: &mut OpenApi) {
    for (schema, property, values) in [
        ("ScanAnswer", "lifecycle", Values::one_of(Lifecycle::ALL)),
        ("RegionAnswer", "state", Values::one_of(["cold", "warm"])),
        ("RiskFactor", "name", Values::one_of(factor_names())),
    ] {
        describe_property(document, schema, property, &values);
    }
    let tag = Values::Pattern(TagId::PATTERN);
    describe_everywhere(document, "tag_id", &tag, |_| true);
    describe_everywhere(document, "details", &Values::Pattern(LINES_PATTERN), |_| true);
    describe_parameter(document, "/v1/scan", "tag_id", TAG, Some(&tag));
    // No pattern: any scanned code gets a page and may be reported.
    describe_parameter(document, "/t/", "tag_id", TAG, None);
    show_requests(document);
}
