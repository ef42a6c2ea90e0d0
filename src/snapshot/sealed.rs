//! The text of a manifest: pretty JSON whose second line is the checksum of the rest.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{FORMAT_VERSION, Manifest, SnapshotError, SnapshotId};
use crate::fault;

/// Bytes of a name, of a server as it is built for everybody (`NAMEDATALEN - 1`).
const LONGEST_NAME: usize = 63;

/// What every version of the format begins with, whatever else changes.
#[derive(Deserialize)]
struct Header {
    format_version: u32,
    features: Vec<String>,
}

/// The bytes of `manifest.json`. Equal manifests give equal bytes.
pub(super) fn seal(manifest: &Manifest) -> Result<Vec<u8>, serde_json::Error> {
    let text = serde_json::to_string_pretty(manifest)?;
    let body = text.strip_prefix("{\n").unwrap_or(&text);
    Ok(format!("{{\n  \"checksum\": \"{}\",\n{body}\n", checksum(body)).into_bytes())
}

/// Reads a manifest and checks that it is whole, is the one of `id`, and asks for nothing that is not known here.
pub(super) fn unseal(id: &SnapshotId, bytes: &[u8]) -> Result<Manifest, SnapshotError> {
    let damaged = |reason: String| SnapshotError::DamagedManifest { id: id.clone(), key: id.manifest_key(), reason };
    let header: Header =
        serde_json::from_slice(bytes).map_err(|error| damaged(format!("it cannot be read: {error}")))?;
    let whole = is_whole(bytes);
    refuse_newer(id, &header, whole)?;
    if !whole && !fault::is_off("off.manifest-seal") {
        return Err(damaged("its checksum does not fit its text; it was changed after it was written".to_owned()));
    }
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|error| damaged(format!("it cannot be read: {error}")))?;
    if manifest.id != *id {
        return Err(damaged(format!("it is the manifest of {}", manifest.id)));
    }
    if let Some(reason) = manifest.misplaced() {
        return Err(damaged(reason));
    }
    let (database, names) = (&manifest.database, [&manifest.database.name, &manifest.bootstrap_role]);
    if let Some(name) = names.into_iter().chain([&database.owner]).find(|name| !is_a_name(name)) {
        return Err(damaged(format!("{name:?} is no name of a database or a role")));
    }
    Ok(manifest)
}

/// Whether a server can have something of this name: it cuts a longer one, and what is then found is something else.
fn is_a_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.contains('\0')
}

/// A newer format may be sealed in another way, so a seal that does not fit proves nothing there; it is told.
fn refuse_newer(id: &SnapshotId, header: &Header, whole: bool) -> Result<(), SnapshotError> {
    let needs = if header.format_version > FORMAT_VERSION {
        format!("has format {}", header.format_version)
    } else if let Some(feature) = header.features.first() {
        format!("uses the feature `{feature}`")
    } else {
        return Ok(());
    };
    let mut supports = format!("(safe-migrate {}) reads format {FORMAT_VERSION}", env!("CARGO_PKG_VERSION"));
    if !whole {
        supports.push_str(&format!("; or {} is damaged: its checksum does not fit", id.manifest_key()));
    }
    Err(SnapshotError::NewerFormat { id: id.clone(), needs, supports })
}

fn is_whole(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let sealed = text.strip_prefix("{\n  \"checksum\": \"").and_then(|rest| rest.split_once("\",\n"));
    sealed.is_some_and(|(sum, body)| body.strip_suffix('\n').is_some_and(|body| checksum(body) == sum))
}

/// SHA-256 of the file without its second line: `sed 2d manifest.json | sha256sum`.
fn checksum(body: &str) -> String {
    let digest = Sha256::new().chain_update("{\n").chain_update(body).chain_update("\n").finalize();
    hex::encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::sample_manifest;

    #[test]
    fn the_text_is_read_back_and_is_the_same_each_time() {
        let manifest = sample_manifest();
        let bytes = seal(&manifest).unwrap();
        assert_eq!(unseal(&manifest.id, &bytes).unwrap(), manifest);
        assert_eq!(seal(&manifest).unwrap(), bytes);
    }

    #[test]
    fn the_checksum_can_be_made_by_hand() {
        let text = String::from_utf8(seal(&sample_manifest()).unwrap()).unwrap();
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        let second = lines.remove(1);
        assert_eq!(second, format!("  \"checksum\": \"{}\",\n", hex::encode(Sha256::digest(lines.concat()))));
    }

    #[test]
    fn any_changed_byte_and_any_cut_is_found() {
        let manifest = sample_manifest();
        let bytes = seal(&manifest).unwrap();
        for at in 0..bytes.len() {
            assert!(unseal(&manifest.id, &bytes[..at]).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(unseal(&manifest.id, &changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn newer_formats_and_features_are_told_apart_from_damage() {
        let manifest = sample_manifest();
        let text = String::from_utf8(seal(&manifest).unwrap()).unwrap();
        for (from, to, needs) in [
            ("\"format_version\": 2", "\"format_version\": 3", "has format 3"),
            ("\"features\": []", "\"features\": [\"encrypted\"]", "uses the feature `encrypted`"),
        ] {
            let error = unseal(&manifest.id, text.replace(from, to).as_bytes()).unwrap_err();
            assert!(matches!(error, SnapshotError::NewerFormat { .. }), "{error:?}");
            assert!(error.to_string().contains(needs), "{error}");
        }
    }

    #[test]
    fn a_manifest_without_the_fields_that_came_later_is_read() {
        let newer = sample_manifest();
        let older = Manifest { vacuum_held_back_ms: None, ..newer.clone() };
        let text = String::from_utf8(seal(&older).unwrap()).unwrap();
        assert!(!text.contains("vacuum"), "absent, as the versions wrote it that did not know it");
        assert_eq!(unseal(&older.id, text.as_bytes()).unwrap(), older);
        assert!(String::from_utf8(seal(&newer).unwrap()).unwrap().contains("\"vacuum_held_back_ms\": 36500"));
    }

    #[test]
    fn a_manifest_under_another_name_is_damage() {
        let bytes = seal(&sample_manifest()).unwrap();
        let other = SnapshotId::parse("20261122T135823Z-000000").unwrap();
        assert!(matches!(unseal(&other, &bytes), Err(SnapshotError::DamagedManifest { .. })));
    }
}
