//! A tag id as text: the hyphenated UUID, and 26 characters of Crockford base32. No other form is
//! accepted, because an id with many spellings invites mistakes.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

const UUID_LEN: usize = 36;
const CROCKFORD_LEN: usize = 26;
const CROCKFORD_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const HEX_ALPHABET: &[u8; 16] = b"0123456789abcdef";

/// A well-formed UUID of any version. [`TagKeys::open`](crate::TagKeys::open) checks whether it is authentic.
///
/// `Display` is the lower-case hyphenated UUID. `Debug` shows a stub, so that no log line holds a whole tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagId([u8; 16]);

impl TagId {
    /// What either text form matches, as a regular expression.
    pub const PATTERN: &str =
        "^([0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-7IiLlOo][0-9A-TV-Za-tv-z]{25})$";

    /// From its 16 bytes, most significant first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes, most significant first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads either text form, in either case, without surrounding characters.
    ///
    /// # Errors
    ///
    /// [`ParseError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        match text.len() {
            UUID_LEN => parse_uuid(text.as_bytes()),
            CROCKFORD_LEN => parse_crockford(text.as_bytes()),
            _ => Err(ParseError::Length),
        }
    }

    /// 26 characters of Crockford base32, upper case: two zero bits, then the 128.
    #[must_use]
    pub fn crockford(&self) -> Crockford {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0; CROCKFORD_LEN];
        for (place, character) in text.iter_mut().rev().enumerate() {
            *character = CROCKFORD_ALPHABET[usize::from(low_byte(bits >> (5 * place)) & 0x1f)];
        }
        Crockford(text)
    }

    fn hyphenated(&self) -> [u8; UUID_LEN] {
        let mut text = [b'-'; UUID_LEN];
        let places = (0..UUID_LEN).filter(|&place| !is_hyphen_place(place));
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
        for (place, digit) in places.zip(digits) {
            text[place] = HEX_ALPHABET[usize::from(digit)];
        }
        text
    }
}

impl fmt::Display for TagId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii(&self.hyphenated()))
    }
}

impl fmt::Debug for TagId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagId({}…)", ascii(&self.hyphenated()[..8]))
    }
}

impl FromStr for TagId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

/// The Crockford form of an id; reads as a `str`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Crockford([u8; CROCKFORD_LEN]);

impl Crockford {
    /// 26 characters of the upper-case alphabet.
    #[must_use]
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

impl Deref for Crockford {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Crockford {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Crockford {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Crockford {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crockford({}…)", &self.as_str()[..6])
    }
}

/// Why a text is not a tag id in an accepted form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Neither 36 nor 26 bytes long.
    #[error("a tag id is a hyphenated UUID of 36 characters or 26 characters of Crockford base32")]
    Length,
    /// A character that its form does not have in that place.
    #[error("character {position} cannot stand there in a tag id")]
    Character {
        /// Where, counted from zero.
        position: usize,
    },
    /// Crockford base32 of more than 128 bits: the first character is above 7.
    #[error("26 characters of Crockford base32 that hold more than 128 bits are no tag id")]
    TooLarge,
}

const fn is_hyphen_place(place: usize) -> bool {
    matches!(place, 8 | 13 | 18 | 23)
}

fn parse_uuid(text: &[u8]) -> Result<TagId, ParseError> {
    let mut bits = 0_u128;
    for (position, &character) in text.iter().enumerate() {
        if is_hyphen_place(position) {
            if character != b'-' {
                return Err(ParseError::Character { position });
            }
        } else {
            let digit = hex_value(character).ok_or(ParseError::Character { position })?;
            bits = (bits << 4) | u128::from(digit);
        }
    }
    Ok(TagId(bits.to_be_bytes()))
}

fn parse_crockford(text: &[u8]) -> Result<TagId, ParseError> {
    let mut bits = 0_u128;
    for (position, &character) in text.iter().enumerate() {
        let digit = crockford_value(character).ok_or(ParseError::Character { position })?;
        if position == 0 && digit > 7 {
            return Err(ParseError::TooLarge);
        }
        bits = (bits << 5) | u128::from(digit);
    }
    Ok(TagId(bits.to_be_bytes()))
}

pub(crate) const fn hex_value(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

const NO_DIGIT: u8 = u8::MAX;

const CROCKFORD_VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 32 {
        let character = CROCKFORD_ALPHABET[digit as usize];
        values[character as usize] = digit;
        values[character.to_ascii_lowercase() as usize] = digit;
        digit += 1;
    }
    let (mut alias, aliases) = (0, [(b'I', 1), (b'L', 1), (b'O', 0)]);
    while alias < aliases.len() {
        let (character, digit) = aliases[alias];
        values[character as usize] = digit;
        values[character.to_ascii_lowercase() as usize] = digit;
        alias += 1;
    }
    values
};

fn crockford_value(character: u8) -> Option<u8> {
    Some(CROCKFORD_VALUES[usize::from(character)]).filter(|&digit| digit != NO_DIGIT)
}

const fn low_byte(bits: u128) -> u8 {
    bits.to_le_bytes()[0]
}

fn ascii(text: &[u8]) -> &str {
    str::from_utf8(text).expect("both alphabets are ASCII")
}
