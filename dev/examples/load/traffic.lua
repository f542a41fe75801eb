-- The requests that wrk sends in the load test: new associations, repeated ones, and requests that must be refused.
--
-- All requests for a cart are alike, so exactly one of them creates associations. A request that must be refused has the
-- status in x-load-expected, and a cart of its own.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("id", threads)
end

local run, back_end, storefront, ron
local created, refused = 0, 0

function init(args)
  run = args[1]
  back_end = "Bearer " .. os.getenv("BACK_END_TOKEN")
  storefront = "Bearer " .. os.getenv("STOREFRONT_TOKEN")
  ron = os.getenv("RON_TOKEN")
  math.randomseed(id)
end

local function linkage(customers)
  local members = {}
  for i, customer in ipairs(customers) do
    members[i] = '{"type":"customer","id":"' .. customer .. '"}'
  end
  return '{"data":[' .. table.concat(members, ",") .. "]}"
end

local function post(cart, access_token, customer_token, body)
  local headers = {
    ["Authorization"] = access_token,
    ["Content-Type"] = "application/json",
    ["x-moltin-customer-token"] = customer_token,
  }
  return { cart = cart, headers = headers, body = body }
end

-- Request number n of those that may succeed. Of ten, three are by a storefront for its customer, four by a back end for
-- one customer, and three by a back end for two to five.
local function association(n)
  local cart = string.format("%s-%d-%d", run, id, n)
  if n % 10 < 3 then
    return post(cart, storefront, ron, linkage({ "ron" }))
  end
  local count = n % 10 < 7 and 1 or 2 + n % 4
  local customers = {}
  for i = 1, count do
    customers[i] = "customer-" .. (n * 7 + i) % 1000
  end
  return post(cart, back_end, nil, linkage(customers))
end

-- Each puts one fault into a request and returns the status that it must be refused with.
local forbidden = {
  function(request)
    request.headers["Authorization"] = storefront
    return 403
  end,
  function(request)
    request.headers["Authorization"] = storefront
    request.headers["x-moltin-customer-token"] = ron
    return 403
  end,
}

local malformed = {
  function(request)
    request.body = '{"data":[{"type":"customer","id":"harry"}'
    return 400
  end,
  function(request)
    request.cart = "not.an.id"
    return 400
  end,
  function(request)
    request.headers["Content-Type"] = "text/plain"
    return 415
  end,
  function(request)
    request.headers["Authorization"] = "Bearer garbage"
    return 401
  end,
}

local function refusal(faults)
  refused = refused + 1
  local cart = string.format("%s-refused-%d-%d", run, id, refused)
  local request = post(cart, back_end, nil, linkage({ "harry" }))
  request.headers["x-load-expected"] = tostring(faults[math.random(#faults)](request))
  return request
end

local function choose()
  local share = math.random(100)
  if share <= 10 then
    return refusal(forbidden)
  elseif share <= 20 then
    return refusal(malformed)
  elseif share <= 60 or created == 0 then
    created = created + 1
    return association(created)
  elseif share <= 85 then
    -- One of the last few, which may still be in flight.
    return association(created - math.random(math.min(created, 8)) + 1)
  else
    return association(math.random(created))
  end
end

function request()
  local chosen = choose()
  local path = "/v2/carts/" .. chosen.cart .. "/relationships/customers"
  return wrk.format("POST", path, chosen.headers, chosen.body)
end

function done(summary, latency)
  print(string.format("     99.9%%  %.2fms", latency:percentile(99.9) / 1000))
  print(string.format("      100%%  %.2fms", latency.max / 1000))
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  if lost > 0 then
    print(lost .. " requests had no answer")
    os.exit(1)
  end
end
