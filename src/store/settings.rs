//! The address of a store as configured, and the place it names.

use std::path::PathBuf;

use super::StoreError;
use crate::signing::Trust;

/// The `[store]` section of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreSettings {
    /// `s3://bucket/prefix` or `file:///abs/dir` (taken literally, without percent-encoding).
    pub url: String,
    /// The address of an S3-compatible service; `None` is Amazon's.
    pub endpoint: Option<String>,
    /// The region; `None` is what the credential chain's profile says, or `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of the address instead of its host name.
    pub path_style: bool,
    /// Server-side encryption: `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub sse: Option<String>,
    /// The key for `aws:kms`.
    pub kms_key: Option<String>,
    /// The keys that count, and the one that signs here.
    pub trust: Trust,
    /// Where what this user knows of stores outside of them lies.
    pub state_dir: Option<PathBuf>,
}

/// The place that an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An absolute directory.
    Directory(PathBuf),
    /// A bucket, and a prefix that is empty or has no `/` at either end.
    Bucket { bucket: String, prefix: String },
}

impl StoreSettings {
    /// Settings with an address alone.
    pub fn from_url(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// The directory of a store on this machine; `None` for a bucket, and for an address that names nothing.
    pub fn directory(&self) -> Option<PathBuf> {
        match self.place() {
            Ok(Place::Directory(path)) => Some(path),
            Ok(Place::Bucket { .. }) | Err(_) => None,
        }
    }

    pub(super) fn place(&self) -> Result<Place, StoreError> {
        let place = if let Some(path) = self.url.strip_prefix("file://") {
            directory(path)
        } else if let Some(rest) = self.url.strip_prefix("s3://") {
            bucket(rest)
        } else {
            Err("it begins with neither `file://` nor `s3://`".to_owned())
        };
        let place = place.map_err(|reason| StoreError::InvalidUrl { url: without_user(&self.url), reason })?;
        self.check_endpoint()?;
        self.check_encryption(&place)?;
        Ok(place)
    }

    fn check_endpoint(&self) -> Result<(), StoreError> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let reason = if endpoint.contains('@') {
            "credentials do not belong in the address of the endpoint"
        } else if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            "an endpoint begins with http:// or https://"
        } else {
            return Ok(());
        };
        Err(StoreError::InvalidUrl { url: without_user(endpoint), reason: reason.to_owned() })
    }

    fn check_encryption(&self, place: &Place) -> Result<(), StoreError> {
        let encrypts = self.sse.is_some() || self.kms_key.is_some();
        let reason = match (place, self.sse.as_deref()) {
            (Place::Directory(_), _) if encrypts => "`sse` and `kms_key` are for s3:// stores only".to_owned(),
            (Place::Directory(_), _) => return Ok(()),
            (_, Some("aws:kms" | "aws:kms:dsse")) => return Ok(()),
            (_, Some("AES256") | None) if self.kms_key.is_some() => "`kms_key` needs `sse = \"aws:kms\"`".to_owned(),
            (_, Some("AES256") | None) => return Ok(()),
            (_, Some(other)) => format!("`sse = \"{other}\"` is none of AES256, aws:kms, aws:kms:dsse"),
        };
        Err(StoreError::InvalidSettings { location: self.url.clone(), reason })
    }
}

fn directory(path: &str) -> Result<Place, String> {
    let trimmed = path.trim_end_matches('/');
    if !path.starts_with('/') {
        return Err("write file:// and an absolute path, such as file:///var/backups/shop".to_owned());
    }
    if trimmed.is_empty() {
        return Err("the root of the file system cannot be a store".to_owned());
    }
    Ok(Place::Directory(PathBuf::from(trimmed)))
}

fn bucket(rest: &str) -> Result<Place, String> {
    if rest.contains('@') {
        return Err("credentials do not belong in the address; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                    or AWS_PROFILE"
            .to_owned());
    }
    if rest.contains(['?', '#']) {
        return Err("`endpoint`, `region` and the like are settings of their own, not a part of the address".to_owned());
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err("the name of the bucket is missing; write s3://bucket/prefix".to_owned());
    }
    let prefix = prefix.trim_matches('/');
    if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("a part of the prefix is empty, `.` or `..`".to_owned());
    }
    Ok(Place::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// The address without what stands before an `@`, which may be a password.
fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        None => url.to_owned(),
        Some((before, after)) => {
            let scheme = before.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
            format!("{scheme}…@{after}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_place(bucket: &str, prefix: &str) -> Place {
        Place::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() }
    }

    #[test]
    fn addresses_name_their_place() {
        let place = |url: &str| StoreSettings::from_url(url).place().unwrap();
        assert_eq!(place("file:///var/backups/shop/"), Place::Directory(PathBuf::from("/var/backups/shop")));
        assert_eq!(place("file:///with space/50%"), Place::Directory(PathBuf::from("/with space/50%")));
        assert_eq!(place("s3://backups"), bucket_place("backups", ""));
        assert_eq!(place("s3://backups/shop/prod/"), bucket_place("backups", "shop/prod"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        for (url, why) in [
            ("/var/backups", "neither"),
            ("http://host/bucket", "neither"),
            ("file://relative/dir", "absolute path"),
            ("file:///", "root of the file system"),
            ("s3://", "bucket is missing"),
            ("s3://b/a//c", "empty"),
            ("s3://b/../c", "`..`"),
            ("s3://b?region=x", "settings of their own"),
        ] {
            let error = StoreSettings::from_url(url).place().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(url), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        for url in ["s3://AKIA:hunter2@bucket/x", "ftp://me:hunter2@host/x"] {
            let error = StoreSettings::from_url(url).place().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_endpoint_is_an_address_without_credentials() {
        let with = |endpoint: &str| {
            let settings = StoreSettings { endpoint: Some(endpoint.to_owned()), ..StoreSettings::from_url("s3://b") };
            settings.place().map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(with("https://objects.example:9000").is_ok());
        assert!(with("objects.example:9000").unwrap_err().contains("http://"));
        assert!(!with("https://me:hunter2@objects.example").unwrap_err().contains("hunter2"));
    }

    #[test]
    fn encryption_settings_must_fit() {
        let with = |url: &str, sse: Option<&str>, key: Option<&str>| {
            let mut settings = StoreSettings::from_url(url);
            settings.sse = sse.map(str::to_owned);
            settings.kms_key = key.map(str::to_owned);
            settings.place().map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(with("s3://b", Some("aws:kms"), Some("alias/backup")).is_ok());
        assert!(with("s3://b", Some("AES256"), None).is_ok());
        assert!(with("s3://b", None, Some("alias/backup")).unwrap_err().contains("kms_key"));
        assert!(with("s3://b", Some("aes"), None).unwrap_err().contains("aes"));
        assert!(with("file:///s", Some("AES256"), None).unwrap_err().contains("s3:// stores only"));
    }
}
