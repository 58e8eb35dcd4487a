# An independent client, of another language: the XML-RPC library of Ruby.
# Takes address, port, certificate, key, certificate of the server, user, password; prints one JSON object.
require "json"
require "openssl"
require "xmlrpc/client"

address, port, certificate, key, server, user, password = ARGV
client = XMLRPC::Client.new3(
  host: address, port: port.to_i, path: "/RPC2", use_ssl: true, timeout: 15,
  user: user.empty? ? nil : user, password: password.empty? ? nil : password
)
client.http.min_version = OpenSSL::SSL::TLS1_3_VERSION
client.http.cert = OpenSSL::X509::Certificate.new(File.read(certificate))
client.http.key = OpenSSL::PKey.read(File.read(key))
client.http.ca_file = server
client.http.verify_mode = OpenSSL::SSL::VERIFY_PEER
client.http.verify_hostname = false # the certificate is the pin; names in it mean nothing

said = {}
begin
  %w[host_firmware_version config_digest sync_status].each { |name| said[name] = client.call("appliance.#{name}") }
  said["ping"] = client.call("appliance.ping", Time.now.to_f)
  sections = client.call("appliance.backup_config_section", ["aliases"])
  said["aliases"] = JSON.parse(sections["aliases"])
  begin
    client.call("appliance.backup_config_section", ["no such"])
  rescue XMLRPC::FaultException => fault
    said["fault"] = [fault.faultCode, fault.faultString]
  end
rescue StandardError => error
  said["error"] = "#{error.class}: #{error.message}"
end
puts JSON.generate(said)
