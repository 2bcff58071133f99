//! Names: `shop.conet`, normalised by ENSIP-15 and hashed by EIP-137.

use std::fmt;

use alloy::primitives::keccak256;

/// Longest name, bytes (RFC 1035, section 2.3.4).
pub const MAX_NAME_TEXT_BYTES: usize = 255;
/// Longest label, bytes, as in the NameRegistrar.
pub const MAX_LABEL_BYTES: usize = 63;
/// Most labels of a name, as in the NameRegistry.
pub const MAX_NAME_LABELS: usize = 16;
/// Fewest characters of a label that can be registered, as in the NameRegistrar.
pub const MIN_LABEL_CHARS: usize = 3;
/// What a host name's part in Punycode begins with (RFC 5890, section 2.3.1).
const PUNYCODE: &str = "xn--";
/// The label below the root under which all names are.
pub const TOP_LABEL: &str = "conet";

/// A name below `.conet`, in its normal form: two that look alike to a reader are the same, or one of them is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// What the registry knows a name by: its EIP-137 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NameNode([u8; 32]);

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It does not end in `.conet`.
    #[error("a name ends in .{TOP_LABEL}: shop.{TOP_LABEL}, for instance")]
    NotBelowConet,
    /// It is too long, or one of its labels is.
    #[error("a name has at most {MAX_NAME_TEXT_BYTES} bytes, a part of it {MAX_LABEL_BYTES}")]
    TooLong,
    /// It has too many labels.
    #[error("a name has at most {MAX_NAME_LABELS} parts")]
    TooDeep,
    /// ENSIP-15 has no normal form of it: empty parts, forbidden characters, scripts mixed to deceive.
    #[error("it has no normal form ({reason})")]
    NotNormalisable {
        /// What is wrong, in the words of the normaliser.
        reason: String,
    },
    /// A host name's part beyond ASCII is not the one form of it that there is.
    #[error("the host name {host} is not how this name is written: {name} is")]
    NotTheHost {
        /// The host name.
        host: String,
        /// What it stands for, in its normal form.
        name: String,
    },
    /// Nobody can register it: it has fewer than 3 characters before `.conet`, or more than one part.
    #[error(
        "what is registered is one part of at least {MIN_LABEL_CHARS} characters before .{TOP_LABEL}"
    )]
    NotRegistrable,
}

impl Name {
    /// Reads a name and brings it into its normal form.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        // Before anything is done with it.
        if text.len() > MAX_NAME_TEXT_BYTES {
            return Err(NameError::TooLong);
        }
        let normal = normalise(text)?;
        let mut labels = normal.rsplit('.');
        if labels.next() != Some(TOP_LABEL) || labels.next().is_none() {
            return Err(NameError::NotBelowConet);
        }
        if normal.len() > MAX_NAME_TEXT_BYTES
            || normal.split('.').any(|label| label.len() > MAX_LABEL_BYTES)
        {
            return Err(NameError::TooLong);
        }
        if normal.split('.').count() > MAX_NAME_LABELS {
            return Err(NameError::TooDeep);
        }
        Ok(Self(normal))
    }

    /// Reads a name that came as a host name, in ASCII: parts beyond that are in Punycode (RFC 3492), as browsers write them.
    ///
    /// # Errors
    /// [`NameError`]. A host name that stands for anything but a normal form is refused and not brought into one: whoever
    /// wrote it may have been shown something else.
    pub fn of_host(host: &str) -> Result<Self, NameError> {
        if host.len() > MAX_NAME_TEXT_BYTES {
            return Err(NameError::TooLong);
        }
        let labels = host.split('.').map(decoded);
        let Some(labels) = labels.collect::<Option<Vec<_>>>() else {
            let reason = "a part of it is no Punycode".to_owned();
            return Err(NameError::NotNormalisable { reason });
        };
        let name = Self::parse(&labels.join("."))?;
        let written = name.host()?;
        if written.eq_ignore_ascii_case(host) {
            return Ok(name);
        }
        Err(NameError::NotTheHost {
            host: host.to_owned(),
            name: name.0,
        })
    }

    /// The name as a host name, in ASCII.
    ///
    /// # Errors
    /// [`NameError::TooLong`] where a part of it is longer than a host name's may be.
    pub fn host(&self) -> Result<String, NameError> {
        let labels = self.0.split('.').map(|label| match label.is_ascii() {
            true => Some(label.to_owned()),
            false => idna::punycode::encode_str(label).map(|code| format!("{PUNYCODE}{code}")),
        });
        let labels = labels.collect::<Option<Vec<_>>>().unwrap_or_default();
        let host = labels.join(".");
        let fits = labels.iter().all(|label| label.len() <= MAX_LABEL_BYTES);
        match fits && !host.is_empty() && host.len() <= MAX_NAME_TEXT_BYTES {
            true => Ok(host),
            false => Err(NameError::TooLong),
        }
    }

    /// Tells whether a text is meant as a name: it ends in `.conet`, in letters of either case.
    pub fn is_meant(text: &str) -> bool {
        let end = text.len().checked_sub(TOP_LABEL.len() + 1);
        end.and_then(|end| text.get(end..)).is_some_and(|end| {
            end.strip_prefix('.')
                .is_some_and(|end| end.eq_ignore_ascii_case(TOP_LABEL))
        })
    }

    /// The name below `.conet` that the registrar knows by this label; none where it is out of the registrar's bounds
    /// or not in its normal form.
    pub(crate) fn of_label(label: &str) -> Option<Self> {
        let text = format!("{label}.{TOP_LABEL}");
        let name = Self::parse(&text).ok()?;
        (name.0 == text && name.label().is_ok()).then_some(name)
    }

    /// The name in full.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the registrar calls it: the one part before `.conet`.
    ///
    /// # Errors
    /// [`NameError::NotRegistrable`] where there are more parts, or fewer than three characters.
    pub fn label(&self) -> Result<&str, NameError> {
        let label = self.0.strip_suffix(TOP_LABEL);
        let label = label.and_then(|rest| rest.strip_suffix('.'));
        label
            .filter(|label| !label.contains('.') && label.chars().count() >= MIN_LABEL_CHARS)
            .ok_or(NameError::NotRegistrable)
    }

    /// The nodes of the name and of what it is below, the name's own last, `.conet` not among them.
    pub(crate) fn nodes(&self) -> Vec<NameNode> {
        let mut node = NameNode::conet();
        let labels = self.0.rsplit('.').skip(1);
        labels
            .map(|label| {
                node = node.below(label);
                node
            })
            .collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NameNode {
    pub(crate) const ROOT: Self = Self([0; 32]);

    /// The node of `.conet`.
    pub(crate) fn conet() -> Self {
        Self::ROOT.below(TOP_LABEL)
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The node of `label` below this one.
    pub(crate) fn below(self, label: &str) -> Self {
        self.below_hash(keccak256(label).0)
    }

    /// The node below this one whose label has that hash.
    pub(crate) fn below_hash(self, label: [u8; 32]) -> Self {
        Self(keccak256([self.0, label].concat()).0)
    }
}

impl fmt::Debug for NameNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

/// A part of a host name as a name has it; none where it is no Punycode.
fn decoded(label: &str) -> Option<String> {
    let (front, code) = label
        .split_at_checked(PUNYCODE.len())
        .unwrap_or((label, ""));
    if !front.eq_ignore_ascii_case(PUNYCODE) {
        return Some(label.to_owned());
    }
    // What is ASCII needs none, and would stand for two names.
    idna::punycode::decode_to_string(code).filter(|text| !text.is_ascii())
}

/// The normal form of a name.
fn normalise(text: &str) -> Result<String, NameError> {
    // Most names; the tables for all others take a moment to read.
    if text.split('.').all(is_plain) {
        return Ok(text.to_owned());
    }
    ens_normalize::ens_normalize(text).map_err(|error| NameError::NotNormalisable {
        reason: error.message().to_owned(),
    })
}

/// Tells whether a label is of small letters, digits and hyphens, which is its own normal form, unless it has the
/// hyphens by which a label in Punycode is known.
fn is_plain(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty() && label.bytes().all(plain) && label.get(2..4) != Some("--")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str) -> String {
        let labels = name.rsplit('.');
        let node = labels.fold(NameNode::ROOT, NameNode::below);
        format!("{node:?}")
    }

    #[test]
    fn node_is_the_name_hash_of_eip_137() {
        // The values that EIP-137 publishes.
        assert_eq!(
            node("eth"),
            "0x93cdeb708b7545dc668eb9280176169d1c33cfd8ed6f04690a0bcc88a93fc4ae"
        );
        assert_eq!(
            node("foo.eth"),
            "0xde9b09fd7c5f901e23a3f19fecc54828e9c848539801e86591bd9801b019f84f"
        );
    }

    #[test]
    fn name_in_any_case_is_the_same_name() {
        let name = Name::parse("ShOp.CONET").unwrap();
        assert_eq!(name.as_str(), "shop.conet");
        assert_eq!(name, Name::parse("shop.conet").unwrap());
        assert_eq!(name.label(), Ok("shop"));
    }

    #[test]
    fn name_with_letters_of_another_script_that_look_alike_is_refused() {
        // Cyrillic ѕ and о between Latin letters; Greek omicron; zero-width joiner; right-to-left override.
        for deceit in [
            "ѕhоp.conet",
            "shοp.conet",
            "sh\u{200d}op.conet",
            "shop\u{202e}.conet",
            "shop\u{2024}conet",
            "xn--shp-ula.conet",
        ] {
            let error = Name::parse(deceit).unwrap_err();
            assert!(
                matches!(
                    error,
                    NameError::NotNormalisable { .. } | NameError::NotBelowConet
                ),
                "{deceit}: {error:?}"
            );
        }
    }

    #[test]
    fn name_wholly_in_another_script_is_kept_but_not_if_it_looks_latin() {
        assert_eq!(
            Name::parse("магазин.conet").unwrap().as_str(),
            "магазин.conet"
        );
        // "оаес" in Cyrillic looks as it does in Latin.
        assert!(Name::parse("оаес.conet").is_err());
    }

    #[test]
    fn host_name_stands_for_the_name_that_is_written_so() {
        for (host, text) in [
            ("shop.conet", "shop.conet"),
            ("Shop.Conet", "shop.conet"),
            ("xn--bcher-kva.conet", "b\u{fc}cher.conet"),
            ("XN--BCHER-KVA.conet", "b\u{fc}cher.conet"),
            ("www.xn--80aairftm.conet", "www.магазин.conet"),
            ("xn--ls8h.conet", "\u{1f4a9}.conet"),
        ] {
            let name = Name::of_host(host).unwrap();
            assert_eq!(name.as_str(), text);
            assert_eq!(name.host().unwrap(), host.to_ascii_lowercase());
        }
    }

    #[test]
    fn host_name_that_only_looks_like_a_name_is_refused() {
        // Cyrillic о between Latin letters; wholly Cyrillic, looking Latin; a capital letter that has another normal form; what
        // needs no Punycode; no Punycode.
        for host in [
            "xn--shp-ted.conet",
            "xn--80ak6aa92e.conet",
            "xn--bcher-2pa.conet",
            "xn--shop-.conet",
            "xn--.conet",
            "xn--a-\u{e9}.conet",
            "shop\u{2024}conet",
        ] {
            assert!(Name::of_host(host).is_err(), "{host}");
        }
        let long = format!("{}.conet", "ü".repeat(31));
        assert!(Name::parse(&long).unwrap().host().is_ok());
        let long = format!("{}.conet", "магазин".repeat(4));
        assert!(Name::parse(&long).is_ok_and(|name| name.host().is_ok()));
    }

    #[test]
    fn name_out_of_bounds_is_refused() {
        assert_eq!(Name::parse("shop.eth"), Err(NameError::NotBelowConet));
        assert_eq!(Name::parse("conet"), Err(NameError::NotBelowConet));
        assert!(Name::parse(".conet").is_err());
        assert!(Name::parse("a..conet").is_err());
        assert!(Name::parse("").is_err());
        let long = format!("{}.conet", "a".repeat(64));
        assert_eq!(Name::parse(&long), Err(NameError::TooLong));
        assert!(Name::parse(&long[1..]).is_ok());
        let long = format!("{}conet", "abcdefghi.".repeat(26));
        assert_eq!(Name::parse(&long), Err(NameError::TooLong));
        let deep = format!("{}conet", "a.".repeat(16));
        assert_eq!(Name::parse(&deep), Err(NameError::TooDeep));
    }

    #[test]
    fn label_of_a_name_below_another_or_too_short_is_none() {
        for text in ["a.shop.conet", "ab.conet"] {
            let name = Name::parse(text).unwrap();
            assert_eq!(name.label(), Err(NameError::NotRegistrable));
        }
    }

    #[test]
    fn text_that_is_meant_as_a_name_ends_in_conet() {
        for text in ["shop.conet", "SHOP.Conet", ".conet"] {
            assert!(Name::is_meant(text), "{text}");
        }
        for text in ["conet", "shopconet", "shop.conet2", "0x00", "é", "日本語日"] {
            assert!(!Name::is_meant(text), "{text}");
        }
    }

    /// The public suite of ENSIP-15, of which the normaliser's package carries a copy.
    fn suite() -> Vec<serde_json::Value> {
        let metadata = std::process::Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline", "--locked"])
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|it| it["name"] == "ens-normalize");
        let manifest = package.unwrap()["manifest_path"].as_str().unwrap();
        let folder = std::path::Path::new(manifest).parent().unwrap();
        let suite = std::fs::read(folder.join("tests/fixtures/validate-tests.json")).unwrap();
        serde_json::from_slice(&suite).unwrap()
    }

    #[test]
    fn names_of_the_public_suite_have_the_normal_forms_that_it_says() {
        let cases = suite();
        // The first entry says of what version it is.
        assert_eq!(cases[0]["version"], "1.11.1");
        assert!(cases.len() > 38_000, "{}", cases.len());
        for case in &cases[1..] {
            let text = case["name"].as_str().unwrap();
            let found = normalise(text);
            if case["error"] == true {
                assert!(found.is_err(), "{case}: {found:?}");
            } else {
                let expected = case["norm"].as_str().unwrap_or(text);
                assert_eq!(found.as_deref(), Ok(expected), "{case}");
            }
        }
    }

    proptest! {
        #[test]
        fn plain_label_is_its_own_normal_form(label in "[a-z0-9-]{1,12}") {
            prop_assume!(is_plain(&label));
            prop_assert_eq!(ens_normalize::ens_normalize(&label).unwrap(), label);
        }

        #[test]
        fn name_is_read_again_from_the_host_name_that_it_has(text in ".{0,40}", host in "[a-z0-9.-]{0,20}") {
            if let Ok(name) = Name::parse(&format!("{text}.conet"))
                && let Ok(host) = name.host()
            {
                prop_assert_eq!(Name::of_host(&host), Ok(name));
            }
            let host = format!("xn--{host}.conet");
            if let Ok(name) = Name::of_host(&host) {
                prop_assert_eq!(name.host(), Ok(host));
            }
        }

        #[test]
        fn name_of_any_text_is_normal_or_refused(text in ".{0,80}") {
            for text in [text.clone(), format!("{text}.conet")] {
                if let Ok(name) = Name::parse(&text) {
                    prop_assert_eq!(Name::parse(name.as_str()), Ok(name));
                }
            }
        }
    }
}
