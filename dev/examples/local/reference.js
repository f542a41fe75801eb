"use strict";

fetch("tokens.json")
  .then((response) => response.json())
  .then((tokens) => {
    document.getElementById("customer").textContent = tokens.customer;
    document.getElementById("account").textContent = tokens.account;
    SwaggerUIBundle({
      url: `openapi.yaml?cart=${tokens.cart}`,
      dom_id: "#reference",
      // The default sends the document to a service on the internet.
      validatorUrl: null,
      tryItOutEnabled: true,
      displayRequestDuration: true,
      /** Adds the tokens of the chosen caller. Those that are filled in by hand come first. */
      requestInterceptor(request) {
        const caller = document.querySelector("[name=caller]:checked").value;
        if (!request.loadSpec) request.headers = { ...tokens.callers[caller], ...request.headers };
        return request;
      },
    });
  });
