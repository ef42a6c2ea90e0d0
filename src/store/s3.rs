//! Objects in a bucket of S3 or of a service that speaks its protocol.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{ProvideCredentials, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ServerSideEncryption};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::s3_error::Answered;
use super::{ObjectInfo, ObjectKey, ObjectStore, StoreError, StoreSettings};

/// Where the SDK looks for a region ends here; services that have none take it.
const FALLBACK_REGION: &str = "us-east-1";

/// Memory set aside for an answer that says how long it is; one that lies gets no more before it sends it.
const FIRST_BUFFER: usize = 32 << 20;

/// No TCP and TLS connection takes longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// No single request takes longer: 16 MiB in this time is about 1 Mbit/s.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(120);

/// One bucket and prefix. One object is one PUT from memory: no multipart, so no orphan parts to pay for.
#[derive(Clone, Debug)]
pub(super) struct S3Store {
    client: Client,
    bucket: String,
    /// Empty, or ends with `/`.
    prefix: String,
    endpoint: Option<String>,
    sse: Option<ServerSideEncryption>,
    kms_key: Option<String>,
}

impl S3Store {
    /// Loads credentials by the SDK's default chain (environment, profile, SSO, container, instance).
    pub(super) async fn connect(settings: &StoreSettings, bucket: &str, prefix: &str) -> Result<Self, StoreError> {
        let region = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(FALLBACK_REGION);
        let sdk = aws_config::defaults(BehaviorVersion::latest()).region(region).load().await;
        let store = Self::with_sdk_config(&sdk, settings, bucket, prefix);
        store.check_credentials(&sdk).await?;
        Ok(store)
    }

    pub(super) fn with_sdk_config(sdk: &SdkConfig, settings: &StoreSettings, bucket: &str, prefix: &str) -> Self {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_timeout(OPERATION_TIMEOUT).build();
        let mut config = aws_sdk_s3::config::Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .force_path_style(settings.path_style);
        if let Some(endpoint) = &settings.endpoint {
            // Newer default checksums come as trailers that many S3-compatible services do not take.
            config = config
                .endpoint_url(endpoint)
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        Self {
            client: Client::from_conf(config.build()),
            bucket: bucket.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            endpoint: settings.endpoint.clone(),
            sse: settings.sse.as_deref().map(ServerSideEncryption::from),
            kms_key: settings.kms_key.clone(),
        }
    }

    async fn check_credentials(&self, sdk: &SdkConfig) -> Result<(), StoreError> {
        let found = match sdk.credentials_provider() {
            Some(provider) => provider.provide_credentials().await.map(|_| ()).map_err(|error| error.to_string()),
            None => Err("no provider of credentials is configured".to_owned()),
        };
        found.map_err(|reason| StoreError::PermissionDenied {
            target: self.location(),
            action: "sign in",
            detail: format!("no usable credentials: {reason}"),
            advice: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        })
    }

    fn full_key(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }

    fn full_prefix(&self, prefix: &str) -> String {
        match prefix.trim_matches('/') {
            "" => self.prefix.clone(),
            directory => format!("{}{directory}/", self.prefix),
        }
    }

    fn answered<'a>(&'a self, action: &'static str, key: Option<&'a ObjectKey>) -> Answered<'a> {
        Answered { location: self.location(), bucket: &self.bucket, endpoint: self.endpoint.as_deref(), key, action }
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), StoreError> {
        let mut request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .set_server_side_encryption(self.sse.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .body(ByteStream::from(body));
        if self.endpoint.is_none() {
            request = request.checksum_algorithm(ChecksumAlgorithm::Sha256);
        }
        request.send().await.map(|_| ()).map_err(|error| self.answered("write", Some(key)).meaning(error))
    }

    async fn get_at_most(&self, key: &ObjectKey, largest: u64) -> Result<Bytes, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(self.full_key(key));
        let answered = self.answered("read", Some(key));
        let object = request.send().await.map_err(|error| answered.meaning(error))?;
        let mut body = object.body;
        let announced = object.content_length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(announced.min(FIRST_BUFFER));
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| answered.unreachable(Box::new(error)))?;
            if (bytes.len() + part.len()) as u64 > largest {
                return Err(StoreError::too_large(self.location(), key, largest));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes.freeze())
    }

    async fn holds(&self, key: &ObjectKey, body: &Bytes) -> Result<Option<bool>, StoreError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        let head = match request.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(head) => head,
            Err(error) => {
                return match self.answered("read", Some(key)).meaning(error) {
                    StoreError::NotFound { .. } => Ok(None),
                    error => Err(error),
                };
            }
        };
        if head.content_length().is_some_and(|length| u64::try_from(length).ok() != Some(body.len() as u64)) {
            return Ok(Some(false));
        }
        if let Some(sum) = head.checksum_sha256() {
            return Ok(Some(sum == BASE64_STANDARD.encode(Sha256::digest(body))));
        }
        // A service that computes no sums: the object itself.
        match self.get_at_most(key, body.len() as u64).await {
            Ok(found) => Ok(Some(found == *body)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(StoreError::Damaged { .. }) => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }

    async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        match request.send().await {
            Ok(head) => Ok(Some(head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0))),
            Err(error) => match self.answered("read", Some(key)).meaning(error) {
                StoreError::NotFound { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.full_prefix(prefix));
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.answered("list", None).meaning(error))?;
            for object in page.contents() {
                let relative = object.key().and_then(|key| key.strip_prefix(&self.prefix));
                let Some(key) = relative.and_then(|key| ObjectKey::new(key).ok()) else { continue };
                let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                found.push(ObjectInfo { key, size });
            }
        }
        found.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(found)
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let above = self.full_prefix(prefix);
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&above).delimiter("/");
        let mut pages = request.into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.answered("list", None).meaning(error))?;
            let directories = page.common_prefixes().iter().filter_map(|directory| directory.prefix());
            let relative = directories.filter_map(|directory| directory.strip_prefix(&above)?.strip_suffix('/'));
            names.extend(relative.filter(|name| ObjectKey::new(*name).is_ok()).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(self.full_key(key));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.answered("delete", Some(key)).meaning(error) {
                StoreError::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    async fn any_entry(&self) -> Result<Option<String>, StoreError> {
        // Two, because a console's "create folder" leaves an empty object named like the prefix itself.
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).max_keys(2);
        let page = request.send().await.map_err(|error| self.answered("list", None).meaning(error))?;
        let relative = page.contents().iter().filter_map(|object| object.key()?.strip_prefix(&self.prefix));
        Ok(relative.filter(|name| !name.is_empty()).map(str::to_owned).next())
    }

    fn location(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix).trim_end_matches('/').to_owned()
    }
}
