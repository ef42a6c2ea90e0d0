//! The answers of S3, and what they mean.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::{Cause, ObjectKey, StoreError};

/// Where a request went: what an error has to name.
pub(super) struct Answered<'a> {
    pub(super) location: String,
    pub(super) bucket: &'a str,
    pub(super) endpoint: Option<&'a str>,
    pub(super) key: Option<&'a ObjectKey>,
    pub(super) action: &'static str,
}

impl Answered<'_> {
    /// Gives a failed request its meaning. Only codes and texts meant for people are kept of the answer.
    pub(super) fn meaning<E>(&self, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        match &error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                self.service(status, answer.err().code(), answer.err().message())
            }
            SdkError::ConstructionFailure(_) => self.not_sent(&error),
            SdkError::DispatchFailure(failure) if failure.is_user() || mentions_credentials(&error) => {
                self.not_sent(&error)
            }
            _ => match error.into_source() {
                Ok(source) => self.unreachable(source),
                Err(error) => self.unreachable(error.to_string().into()),
            },
        }
    }

    /// No answer, or one that broke off.
    ///
    /// Of the client's chain ("io error", "client error (Connect)", …) the last part is what the system said.
    pub(super) fn unreachable(&self, source: Cause) -> StoreError {
        let said = chain(source.as_ref()).map(ToString::to_string).last().unwrap_or_default();
        StoreError::Unreachable { location: self.place(), source: said.into() }
    }

    fn service(&self, status: u16, code: Option<&str>, message: Option<&str>) -> StoreError {
        let text = message.unwrap_or_default().trim_end_matches('.');
        let said = |name: &str| if text.is_empty() { name.to_owned() } else { format!("{name}: {text}") };
        match (code.unwrap_or_default(), status) {
            ("NoSuchBucket", _) => StoreError::NoSuchBucket { location: self.place(), bucket: self.bucket.to_owned() },
            ("NoSuchKey" | "NotFound", _) | ("", 404) => self.not_found(),
            (code, _) if refuses_credentials(code) => self.denied(
                said(code),
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE",
            ),
            (code @ "RequestTimeTooSkewed", _) => self.denied(said(code), "set the clock of this machine"),
            (code, 401 | 403) => {
                let name = if code.is_empty() { format!("HTTP {status}") } else { code.to_owned() };
                self.denied(said(&name), "check the credentials and the policy of the bucket")
            }
            (code, status) => self.other(code, status, text),
        }
    }

    fn other(&self, code: &str, status: u16, text: &str) -> StoreError {
        let wrong_region = matches!(code, "PermanentRedirect" | "AuthorizationHeaderMalformed") || status == 301;
        let hint = if wrong_region { "; set `region` of the store to the one of the bucket" } else { "" };
        StoreError::Service {
            target: self.target(),
            action: self.action,
            code: if code.is_empty() { format!("HTTP {status}") } else { format!("{code} (HTTP {status})") },
            message: format!("{text}{hint}"),
            transient: is_transient(code, status),
        }
    }

    fn not_sent(&self, error: &(dyn Error + 'static)) -> StoreError {
        if mentions_credentials(error) {
            return self.denied(
                "the credentials could not be loaded or have expired".to_owned(),
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            );
        }
        let message = chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
        StoreError::Service {
            target: self.target(),
            action: self.action,
            code: "nothing, the request could not be made".to_owned(),
            message,
            transient: false,
        }
    }

    fn not_found(&self) -> StoreError {
        let key = self.key.map(ToString::to_string).unwrap_or_default();
        StoreError::NotFound { location: self.location.clone(), key }
    }

    fn denied(&self, detail: String, advice: &'static str) -> StoreError {
        StoreError::PermissionDenied { target: self.target(), action: self.action, detail, advice }
    }

    fn target(&self) -> String {
        self.key.map_or_else(|| self.place(), |key| format!("{}/{key}", self.location))
    }

    fn place(&self) -> String {
        self.endpoint.map_or_else(|| self.location.clone(), |endpoint| format!("{} at {endpoint}", self.location))
    }
}

fn refuses_credentials(code: &str) -> bool {
    matches!(
        code,
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"
    )
}

fn is_transient(code: &str, status: u16) -> bool {
    // BadDigest: the bytes were changed on the way.
    let by_code = matches!(
        code,
        "SlowDown" | "RequestTimeout" | "Throttling" | "ThrottlingException" | "OperationAborted" | "BadDigest"
    );
    by_code || matches!(status, 408 | 429 | 500..=599) && status != 501
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

fn mentions_credentials(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| cause.to_string().contains("credential"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> StoreError {
        let key = ObjectKey::new("chunks/ab/ab12").unwrap();
        let location = "s3://backups/shop".to_owned();
        let answered = Answered {
            location,
            bucket: "backups",
            endpoint: Some("http://s3.test"),
            key: Some(&key),
            action: "write",
        };
        answered.service(status, Some(code).filter(|code| !code.is_empty()), Some("said so"))
    }

    #[test]
    fn wrong_credentials_and_policies_are_permissions() {
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (400, "ExpiredToken"),
            (403, "RequestTimeTooSkewed"),
            (401, ""),
            (403, ""),
        ] {
            let error = answer(status, code);
            assert!(matches!(error, StoreError::PermissionDenied { .. }) && error.is_permanent(), "{error:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        assert!(answer(404, "NoSuchKey").is_not_found());
        assert!(answer(404, "").is_not_found());
        let bucket = answer(404, "NoSuchBucket").to_string();
        assert!(bucket.contains("no bucket `backups`") && bucket.contains("http://s3.test"), "{bucket}");
    }

    #[test]
    fn only_answers_that_may_change_are_tried_again() {
        for (status, code, permanent) in [
            (503, "SlowDown", false),
            (500, "InternalError", false),
            (429, "", false),
            (400, "RequestTimeout", false),
            (400, "BadDigest", false),
            (400, "InvalidRequest", true),
            (501, "NotImplemented", true),
        ] {
            assert_eq!(answer(status, code).is_permanent(), permanent, "{code} {status}");
        }
    }

    #[test]
    fn a_wrong_region_says_what_to_set() {
        let error = answer(301, "PermanentRedirect").to_string();
        assert!(error.contains("`region`") && error.contains("s3://backups/shop/chunks/ab/ab12"), "{error}");
    }
}
