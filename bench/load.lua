-- Requests for wrk: `-- METHOD KEYS STRIDE [QUERY [AUTHORIZATION]]` after the URL, whose path is the directory of the keys.
-- All requests are made beforehand and sent in turn, so that wrk spends its time on the wire.

local requests, sent = {}, 0

function init(args)
   local method, keys, stride, query = args[1], tonumber(args[2]), tonumber(args[3]), args[4] or ""
   local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
   if args[5] and args[5] ~= "" then
      headers["Authorization"] = args[5]
   end
   for i = 0, keys - 1 do
      local path = wrk.path .. string.format("%07d", i * stride) .. query
      if method == "PUT" then
         requests[i + 1] = wrk.format(method, path, headers, "value=" .. string.format("%s%07d", string.rep("0", 93), i))
      else
         requests[i + 1] = wrk.format(method, path)
      end
   end
end

function request()
   sent = sent % #requests + 1
   return requests[sent]
end

function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format(
      '{"requests": %d, "duration_us": %d, "failed": %d, "p50_us": %d, "p99_us": %d, "max_us": %d}\n',
      summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99), latency.max
   ))
end
