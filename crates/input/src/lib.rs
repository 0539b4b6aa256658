//! Fields that clients write: the error for a rejected field, and text that is safe to show to others.
//!
//! ```
//! use input::Line;
//!
//! let name = Line::<20>::parse("name", "Rain jacket".to_owned())?;
//! assert_eq!(name.into_string(), "Rain jacket");
//!
//! let rejected = Line::<20>::parse("name", String::new()).unwrap_err();
//! assert!(rejected.to_string().starts_with("name has 0 characters; it takes 1 to 20 characters"));
//! # Ok::<(), input::FieldError>(())
//! ```

mod field_error;
mod text;

pub use field_error::{FieldError, FieldFault, is, quoted};
pub use text::{LINE_PATTERN, LINES_PATTERN, Line, Lines, without_direction};
