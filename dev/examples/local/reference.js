"use strict";

const SCHEMES = ["accessToken", "customerToken", "accountToken", "cartToken"];

fetch("tokens.json")
  .then((response) => response.json())
  .then((tokens) => {
    document.getElementById("customer").textContent = tokens.customer;
    document.getElementById("account").textContent = tokens.account;
    const reference = SwaggerUIBundle({
      url: `openapi.yaml?cart=${tokens.cart}`,
      dom_id: "#reference",
      // The default sends the document to a service on the internet.
      validatorUrl: null,
      tryItOutEnabled: true,
      displayRequestDuration: true,
      onComplete: fillIn,
    });
    for (const choice of document.getElementsByName("caller")) {
      choice.addEventListener("change", () => {
        reference.authActions.logout(SCHEMES);
        fillIn();
      });
    }

    /** Fills in the tokens of the chosen caller. */
    function fillIn() {
      const caller = document.querySelector("[name=caller]:checked").value;
      for (const [scheme, token] of Object.entries(tokens.callers[caller])) reference.preauthorizeApiKey(scheme, token);
    }
  });
