//! The master secret. It is read from hex, wiped when dropped, and never shown, not even in an error.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes from which an epoch's keys are derived.
pub struct MasterSecret([u8; Self::LEN]);

impl MasterSecret {
    const LEN: usize = 32;

    /// Reads exactly 64 hexadecimal digits of either case, without surrounding characters.
    ///
    /// # Errors
    ///
    /// [`SecretError`], which names the position of the error and shows nothing of the text.
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::LEN {
            return Err(SecretError::Length { found: digits.len() });
        }
        let mut secret = Self([0; Self::LEN]);
        for (position, &digit) in digits.iter().enumerate() {
            let value = crate::text::hex_value(digit).ok_or(SecretError::Digit { position })?;
            let byte = &mut secret.0[position / 2];
            *byte = (*byte << 4) | value;
        }
        Ok(secret)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for MasterSecret {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Drop for MasterSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for MasterSecret {}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret(..)")
    }
}

/// Why a text is not a master secret. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not 64 bytes long.
    #[error("a master secret is 64 hexadecimal digits, this has {found} bytes")]
    Length {
        /// How many bytes there were.
        found: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("a master secret is 64 hexadecimal digits, byte {position} is none")]
    Digit {
        /// Where, counted in bytes from zero.
        position: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

    #[test]
    fn hex_of_either_case_is_read() {
        let secret = MasterSecret::from_hex(HEX).unwrap();
        assert_eq!(secret.bytes(), (0..32).collect::<Vec<u8>>());
        assert_eq!(MasterSecret::from_hex(&HEX.to_lowercase()).unwrap().bytes(), secret.bytes());
    }

    #[test]
    fn any_other_text_is_rejected_with_the_position_of_the_error() {
        assert_eq!(MasterSecret::from_hex("").unwrap_err(), SecretError::Length { found: 0 });
        assert_eq!(MasterSecret::from_hex(&HEX[1..]).unwrap_err(), SecretError::Length { found: 63 });
        assert_eq!(
            MasterSecret::from_hex(&format!("{HEX}\n")).unwrap_err(),
            SecretError::Length { found: 65 }
        );
        let wrong = HEX.replace("0f", "0g");
        assert_eq!(MasterSecret::from_hex(&wrong).unwrap_err(), SecretError::Digit { position: 31 });
        let wide = HEX.replace("0f", "é");
        assert_eq!(MasterSecret::from_hex(&wide).unwrap_err(), SecretError::Digit { position: 30 });
    }

    #[test]
    fn neither_debug_nor_an_error_shows_the_value() {
        let secret = MasterSecret::from_hex(HEX).unwrap();
        assert_eq!(format!("{secret:?}"), "MasterSecret(..)");
        let error = MasterSecret::from_hex(&HEX.replace("1F", "xy")).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("xy") && !shown.contains("0102"), "{shown}");
    }
}
