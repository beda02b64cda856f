-- RUDP for Wireshark and tshark: tshark -X lua_script:rudp.lua -r run00000.pcapng
-- The format is drawn in rudp_smtp/wire/packet.py. What cannot be read is marked as malformed, and the rest is shown.

local rudp = Proto("rudp_smtp", "Reliable UDP of rudp_smtp") -- Wireshark has another "rudp"
local types = { [0x50] = "INITIAL", [0x51] = "ONE_RTT", [0x52] = "VERSION_NEGOTIATION", [0x53] = "RETRY" }

-- Each frame's name, and the names of its variable-length integers; ACK, HELLO and STREAM have more to them.
local frames = {
  [0x00] = { "PADDING" }, [0x01] = { "PING" }, [0x02] = { "ACK" }, [0x03] = { "ACK_ECN" },
  [0x04] = { "RESET_STREAM", "stream_id", "error_code", "final_size" },
  [0x05] = { "STOP_SENDING", "stream_id", "error_code" },
  [0x06] = { "HELLO" }, [0x07] = { "TOKEN" },
  [0x10] = { "MAX_DATA", "maximum" }, [0x11] = { "MAX_STREAM_DATA", "stream_id", "maximum" },
  [0x12] = { "MAX_STREAMS", "maximum" }, [0x14] = { "DATA_BLOCKED", "limit" },
  [0x15] = { "STREAM_DATA_BLOCKED", "stream_id", "limit" }, [0x16] = { "STREAMS_BLOCKED", "limit" },
  [0x1a] = { "PATH_CHALLENGE" }, [0x1b] = { "PATH_RESPONSE" },
  [0x1c] = { "CONNECTION_CLOSE", "error_code" }, [0x1d] = { "CONNECTION_CLOSE_APPLICATION", "error_code" },
  [0x1f] = { "IMMEDIATE_ACK" },
  [0x2f] = { "ACK_FREQUENCY", "sequence_number", "ack_eliciting_threshold", "max_ack_delay", "reordering_threshold" },
}
for flags = 0, 7 do frames[0x08 + flags] = { "STREAM" } end
local octets_after = { [0x06] = "parameters", [0x07] = "token", [0x1c] = "reason", [0x1d] = "reason" }

local frame_names = {}
for code, frame in pairs(frames) do frame_names[code] = frame[1] end

local f = {
  type = ProtoField.uint8("rudp_smtp.type", "Type", base.HEX, types),
  version = ProtoField.uint32("rudp_smtp.version", "Version", base.HEX),
  destination_id = ProtoField.uint64("rudp_smtp.destination_id", "Destination connection ID", base.HEX),
  source_id = ProtoField.uint64("rudp_smtp.source_id", "Source connection ID", base.HEX),
  packet_number = ProtoField.uint64("rudp_smtp.packet_number", "Packet number"),
  crc = ProtoField.uint32("rudp_smtp.crc", "CRC-32", base.HEX),
  frame = ProtoField.uint8("rudp_smtp.frame", "Frame", base.HEX, frame_names),
  ack_first = ProtoField.uint64("rudp_smtp.ack.first", "First of range"),
  ack_last = ProtoField.uint64("rudp_smtp.ack.last", "Last of range"),
  ack_delay = ProtoField.uint64("rudp_smtp.ack.delay", "ACK delay (us)"),
  ecn = ProtoField.uint64("rudp_smtp.ack.ecn", "ECN count"),
  stream = ProtoField.uint32("rudp_smtp.stream.id", "Stream"),
  offset = ProtoField.uint64("rudp_smtp.stream.offset", "Offset"),
  length = ProtoField.uint32("rudp_smtp.stream.length", "Length"),
  fin = ProtoField.bool("rudp_smtp.stream.fin", "FIN"),
  data = ProtoField.bytes("rudp_smtp.stream.data", "Data"),
  octets = ProtoField.bytes("rudp_smtp.octets", "Octets"),
}
for _, name in ipairs({ "stream_id", "error_code", "final_size", "maximum", "limit", "sequence_number",
                        "ack_eliciting_threshold", "max_ack_delay", "reordering_threshold" }) do
  f[name] = ProtoField.uint64("rudp_smtp." .. name, name)
end
rudp.fields = f
local malformed = ProtoExpert.new("rudp_smtp.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR)
rudp.experts = { malformed }

local function varint(tvb, at)
  local size = 2 ^ math.floor(tvb(at, 1):uint() / 64)
  if size == 1 then return UInt64(tvb(at, 1):uint()), at + 1 end
  local high = tvb(at, 1):uint() % 64
  if size == 2 then return UInt64(high * 256 + tvb(at + 1, 1):uint()), at + 2 end
  if size == 4 then return UInt64(high * 16777216 + tvb(at + 1, 3):uint()), at + 4 end
  return UInt64(tvb(at + 4, 4):uint(), high * 16777216 + tvb(at + 1, 3):uint()), at + 8
end

local function ack(tvb, at, tree, has_counts)
  local start = at
  local last, delay, count, first
  last, at = varint(tvb, at)
  delay, at = varint(tvb, at)
  count, at = varint(tvb, at)
  first, at = varint(tvb, at)
  tree:add(f.ack_delay, tvb(start, at - start), delay)
  for number = 0, count:tonumber() do
    if number > 0 then
      start = at
      local gap, length
      gap, at = varint(tvb, at)
      length, at = varint(tvb, at)
      last, first = last - first - gap - 2, length
    end
    tree:add(f.ack_first, tvb(start, at - start), last - first)
    tree:add(f.ack_last, tvb(start, at - start), last)
  end
  for _ = 1, has_counts and 3 or 0 do
    local value
    start = at
    value, at = varint(tvb, at)
    tree:add(f.ecn, tvb(start, at - start), value)
  end
  return at
end

local function stream(tvb, at, tree, flags)
  local wide, has_length = flags >= 4, flags % 4 >= 2
  tree:add(f.stream, tvb(at, 4))
  tree:add(f.offset, tvb(at + 4, wide and 8 or 4))
  local start = at + (wide and 12 or 8)
  local size = tvb:len() - start
  if has_length then
    size, start = tvb(start, 2):uint(), start + 2
  end
  tree:add(f.length, size)
  tree:add(f.fin, flags % 2 == 1)
  if size > 0 then tree:add(f.data, tvb(start, size)) end
  return start + size
end

local function frame(tvb, at, tree)
  local code = tvb(at, 1):uint()
  local shape = frames[code]
  local branch = tree:add(f.frame, tvb(at, 1))
  if shape == nil then error("unknown frame type") end
  at = at + 1
  if code == 0 then
    while at < tvb:len() and tvb(at, 1):uint() == 0 do at = at + 1 end
  elseif code == 0x02 or code == 0x03 then
    at = ack(tvb, at, branch, code == 0x03)
  elseif shape[1] == "STREAM" then
    at = stream(tvb, at, branch, code - 0x08)
  elseif code == 0x1a or code == 0x1b then
    branch:add(f.octets, tvb(at, 8))
    at = at + 8
  end
  for index = 2, #shape do
    local start, value = at, nil
    value, at = varint(tvb, at)
    branch:add(f[shape[index]], tvb(start, at - start), value)
  end
  if octets_after[code] then
    local size
    size, at = varint(tvb, at)
    if size:tonumber() > 0 then
      branch:add(f.octets, tvb(at, size:tonumber())):prepend_text(octets_after[code] .. " ")
    end
    at = at + size:tonumber()
  end
  return at, shape[1]
end

function rudp.dissector(tvb, pinfo, root)
  if tvb:len() < 21 or types[tvb(0, 1):uint()] == nil then return 0 end
  pinfo.cols.protocol = "RUDP"
  local kind, size = tvb(0, 1):uint(), tvb:len() - 4
  local tree = root:add(rudp, tvb())
  local said = types[kind]
  local ok = pcall(function()
    local at = 1
    tree:add(f.type, tvb(0, 1))
    if kind ~= 0x51 then tree:add(f.version, tvb(1, 4)) at = 5 end
    tree:add(f.destination_id, tvb(at, 8))
    at = at + 8
    if kind == 0x50 or kind == 0x52 then tree:add(f.source_id, tvb(at, 8)) at = at + 8 end
    tree:add(f.crc, tvb(size, 4))
    if kind > 0x51 then tree:add(f.octets, tvb(at, size - at)) return end
    tree:add(f.packet_number, tvb(at, 8))
    said = said .. " " .. tostring(tvb(at, 8):uint64())
    at = at + 8
    local body, name = tvb(0, size):tvb(), nil
    while at < size do
      at, name = frame(body, at, tree)
      said = said .. " " .. name
    end
  end)
  if not ok then tree:add_proto_expert_info(malformed) end
  pinfo.cols.info = said
  return tvb:len()
end

DissectorTable.get("udp.port"):add(2525, rudp)
