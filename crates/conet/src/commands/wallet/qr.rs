//! QR codes on a terminal.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::failure::Outcome;

/// A text as QR code of half blocks, light on dark terminals as on paper.
pub(super) fn blocks(text: &str) -> Outcome<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)?;
    // Dark and light are swapped: a terminal's background is dark, and readers want a light margin.
    Ok(code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_contact_fits_into_a_code() {
        assert!(
            blocks(&"x".repeat(wallet::MAX_CONTACT_BYTES))
                .unwrap()
                .lines()
                .count()
                > 20
        );
    }
}
