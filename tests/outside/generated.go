// Calls the API at API_URL with the client that oapi-codegen has generated in the same package.
package carts

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"testing"
)

// client returns a client that sends this access token.
func client(t *testing.T, token string) *ClientWithResponses {
	bearer := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	client, err := NewClientWithResponses(os.Getenv("API_URL"), WithRequestEditorFn(bearer))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestTheCartsOfACustomer(t *testing.T) {
	ctx, shop := context.Background(), client(t, os.Getenv("ACCESS_TOKEN"))
	token := os.Getenv("CUSTOMER_TOKEN")
	body := CustomerLinkageRequest{Data: []CustomerIdentifier{{Type: CustomerIdentifierTypeCustomer, Id: os.Getenv("CUSTOMER")}}}
	carts := []string{"generated-go-1", "generated-go-2"}
	for _, cart := range carts {
		for _, status := range []int{200, 204} {
			answer, err := shop.AssociateCustomersWithResponse(ctx, cart, &AssociateCustomersParams{XMoltinCustomerToken: &token}, body)
			if err != nil || answer.StatusCode() != status {
				t.Fatal(err, answer)
			}
		}
	}

	limit := 1
	first, err := shop.ListOwnCartsWithResponse(ctx, &ListOwnCartsParams{XMoltinCustomerToken: &token, PageLimit: &limit})
	if err != nil || first.JSON200 == nil || first.JSON200.Data[0].Id != carts[1] {
		t.Fatal(err, first)
	}
	next, err := url.Parse(*first.JSON200.Links.Next)
	if err != nil {
		t.Fatal(err)
	}
	after := next.Query().Get("page[after]")
	second, err := shop.ListOwnCartsWithResponse(ctx, &ListOwnCartsParams{XMoltinCustomerToken: &token, PageAfter: &after})
	if err != nil || second.JSON200 == nil || second.JSON200.Data[0].Id != carts[0] {
		t.Fatal(err, second)
	}

	for _, cart := range carts {
		answer, err := shop.DissociateCustomersWithResponse(ctx, cart, &DissociateCustomersParams{XMoltinCustomerToken: &token}, body)
		if err != nil || answer.StatusCode() != 204 {
			t.Fatal(err, answer)
		}
	}
}

func TestTheAccountsOfACart(t *testing.T) {
	ctx, shop := context.Background(), client(t, os.Getenv("ACCESS_TOKEN"))
	token := os.Getenv("ACCOUNT_TOKEN")
	body := AccountLinkageRequest{Data: []AccountIdentifier{{Type: AccountIdentifierTypeAccount, Id: os.Getenv("ACCOUNT")}}}
	params := AssociateAccountsParams{EPAccountManagementAuthenticationToken: &token}
	answer, err := shop.AssociateAccountsWithResponse(ctx, "generated-go", &params, body)
	if err != nil || answer.StatusCode() != 200 {
		t.Fatal(err, answer)
	}
	remove := DissociateAccountsParams{EPAccountManagementAuthenticationToken: &token}
	removed, err := shop.DissociateAccountsWithResponse(ctx, "generated-go", &remove, body)
	if err != nil || removed.StatusCode() != 204 {
		t.Fatal(err, removed)
	}
}

func TestAnErrorHasItsCode(t *testing.T) {
	answer, err := client(t, "x").ListOwnCartsWithResponse(context.Background(), nil)
	if err != nil || answer.JSON401 == nil || answer.JSON401.Errors[0].Code != InvalidAccessToken {
		t.Fatal(err, answer)
	}
}
