//! The name of the caller, made once.

use std::sync::OnceLock;

use aws_runtime::user_agent::UserAgentInterceptor;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::disable_interceptor;

const USER_AGENT: &str = "user-agent";

/// Has the SDK say who calls with the first call, and says the same with all
/// others. The SDK would format it anew for each, into two headers of which it
/// signs one.
#[derive(Debug, Default)]
pub(super) struct UserAgent(OnceLock<String>);

impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "UserAgent"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.0.get().is_some() {
            let disabled = disable_interceptor::<UserAgentInterceptor>("it is known by now");
            config.interceptor_state().store_put(disabled);
        }
        Ok(())
    }

    // Signing is over by then: it leaves this header out.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        if let Some(by_sdk) = headers.get(USER_AGENT) {
            self.0.get_or_init(|| by_sdk.to_owned());
        } else if let Some(known) = self.0.get() {
            headers.insert(USER_AGENT, known.clone());
        }
        Ok(())
    }
}
