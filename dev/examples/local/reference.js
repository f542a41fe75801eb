"use strict";

fetch("tokens.json")
  .then((response) => response.json())
  .then((tokens) => {
    document.getElementById("customer").textContent = tokens.customer;
    document.getElementById("back-end-token").textContent = tokens.backEndToken;
    const reference = SwaggerUIBundle({
      url: `openapi.yaml?cart=${tokens.cart}`,
      dom_id: "#reference",
      // The default sends the document to a service on the internet.
      validatorUrl: null,
      tryItOutEnabled: true,
      displayRequestDuration: true,
      onComplete() {
        reference.preauthorizeApiKey("accessToken", tokens.accessToken);
        reference.preauthorizeApiKey("customerToken", tokens.customerToken);
        // Only if the function demands cart tokens.
        if (tokens.cartToken) reference.preauthorizeApiKey("cartToken", tokens.cartToken);
      },
    });
  });
