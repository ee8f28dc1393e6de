/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Published ESP packets with their keys and plaintexts
 *
 *	RFC 3602 section 4		AES-CBC without integrity
 *	draft-mcgrew-gcm-test-01	AES-GCM (RFC 4106) and AES-GMAC (RFC 4543),
 *					with and without extended sequence numbers
 *	RFC 7634 appendix A		ChaCha20-Poly1305
 *
 * All numbers are the documents' own. Octets are written in hexadecimal; blanks
 * and newlines mean nothing.
 */
#ifndef _IPSEC_V3_KUNIT_VECTORS_H
#define _IPSEC_V3_KUNIT_VECTORS_H

#include <linux/types.h>

/**
 * struct esp_vector - one packet
 * @name: where it is published
 * @alg: transform that takes the IV as it is given
 * @ivlen: octets of the IV in the packet
 * @icvlen: octets of the ICV
 * @esn: extended sequence numbers
 * @seq_high: high half of the sequence number, with @esn
 * @key: key, followed by the salt if the algorithm has one
 * @plain: payload, padding, pad length, next header
 * @packet: SPI, low half of the sequence number, IV, ciphertext, ICV
 */
struct esp_vector {
	const char *name;
	const char *alg;
	unsigned int ivlen;
	unsigned int icvlen;
	bool esn;
	u32 seq_high;
	const char *key;
	const char *plain;
	const char *packet;
};

static const struct esp_vector esp_vectors[] = {
	{
		.name = "RFC 3602 section 4, case 5",
		.alg = "authenc(digest_null,cbc(aes))",
		.ivlen = 16,
		.icvlen = 0,
		.key =
			"90d382b4 10eeba7a d938c46c ec1a82bf",
		.plain =
			"08000ebd a70a0000 8e9c083d b95b0700 08090a0b 0c0d0e0f\n"
			"10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627\n"
			"28292a2b 2c2d2e2f 30313233 34353637 01020304 05060708\n"
			"090a0b0c 0d0e0e01",
		.packet =
			"00004321 00000001 e96e8c08 ab465763 fd098d45 dd3ff893\n"
			"f663c25d 325c18c6 a9453e19 4e120849 a4870b66 cc6b9965\n"
			"330013b4 898dc856 a4699e52 3a55db08 0b59ec3a 8e4b7e52\n"
			"775b07d1 db34ed9c 538ab50c 551b874a a269add0 47ad2d59\n"
			"13ac19b7 cfbad4a6",
	},
	{
		.name = "RFC 3602 section 4, case 6",
		.alg = "authenc(digest_null,cbc(aes))",
		.ivlen = 16,
		.icvlen = 0,
		.key =
			"90d382b4 10eeba7a d938c46c ec1a82bf",
		.plain =
			"0800b5e8 a80a0500 a69c083d 0b660e00 77777777 77777777\n"
			"77777777 01020201",
		.packet =
			"00004321 00000008 69d08df7 d203329d b093fc49 24e5bd80\n"
			"f5199588 1ec4e0c4 488987ce 742e8109 689bb379 d2d750c0\n"
			"d915dca3 46a89f75",
	},
	{
		.name = "RFC 3602 section 4, case 7",
		.alg = "authenc(digest_null,cbc(aes))",
		.ivlen = 16,
		.icvlen = 0,
		.key =
			"01234567 89abcdef 01234567 89abcdef",
		.plain =
			"45000054 09040000 4001f988 c0a87b03 c0a87bc8 08009f76\n"
			"a90a0100 b49c083d 02a20400 08090a0b 0c0d0e0f 10111213\n"
			"14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b\n"
			"2c2d2e2f 30313233 34353637 01020304 05060708 090a0a04",
		.packet =
			"00008765 00000002 f4e76524 4f6407ad f13dc138 0f673f37\n"
			"773b5241 a4c44922 5e4f3ce5 ed611b0c 237ca96c f74a9301\n"
			"3c1b0ea1 a0cf70f8 e4ecaec7 8ac53aad 7a0f022b 859243c6\n"
			"47752e94 a859352b 8a4d4d2d ecd136e5 c177f132 ad3fbfb2\n"
			"201ac990 4c74ee0a 109e0ca1 e4dfe9d5 a100b842 f1c22f0d",
	},
	{
		.name = "RFC 3602 section 4, case 8",
		.alg = "authenc(digest_null,cbc(aes))",
		.ivlen = 16,
		.icvlen = 0,
		.key =
			"01234567 89abcdef 01234567 89abcdef",
		.plain =
			"45000044 090c0000 4001f990 c0a87b03 c0a87bc8 0800d63c\n"
			"aa0a0200 c69c083d a3de0300 ffffffff ffffffff ffffffff\n"
			"ffffffff ffffffff ffffffff ffffffff ffffffff 01020304\n"
			"05060708 090a0a04",
		.packet =
			"00008765 00000005 85d47224 b5f3dd5d 2101d4ea 8dffab22\n"
			"15b92683 819596a8 047232cc 00f7048f e45318e1 1f8a0f62\n"
			"ede3c3fc 61203bb5 0f980a08 c9843fd3 a1b06d5c 07ff9639\n"
			"b7eb7dfb 3512e5de 435e7207 ed971ef3 d2726d9b 5ef6affc\n"
			"6d17a0de cbb13892",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 1",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x87654321,
		.key =
			"4c80cdef bb5d10da 906ac73c 3613a634 2e443b68",
		.plain =
			"45000048 699a0000 80114db7 c0a80102 c0a80101 0a9bf156\n"
			"38d30100 00010000 00000000 045f7369 70045f75 64700373\n"
			"69700963 79626572 63697479 02646b00 00210001 01020201",
		.packet =
			"00004321 00000000 4956ed7e 3b244cfe fecf537e 729d5b07\n"
			"dc30df52 8dd22b76 8d1b9873 6696a6fd 348509fa 13ceac34\n"
			"cfa2436f 14a3f3cf 65925bf1 f4a13c5d 15b21e18 84f5ff62\n"
			"47aeabb7 86b93bce 61bc17d7 68fd9732 45901814 8f6cbe72\n"
			"2fd04796 562dfdb4",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 2",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.key =
			"feffe992 8665731c 6d6a8f94 67308308 cafebabe",
		.plain =
			"4500003e 698f0000 80114dcc c0a80102 c0a80101 0a980035\n"
			"002a2343 b2d00100 00010000 00000000 03736970 09637962\n"
			"65726369 74790264 6b000001 00010001",
		.packet =
			"0000a5f8 0000000a facedbad decaf888 deb22cd9 b07c72c1\n"
			"6e3a65be eb8df304 a5a5897d 33ae530f 1ba76d5d 114d2a5c\n"
			"3de81827 c10e9a4f 51330d0e ec416642 cfbb85a5 b47e48a4\n"
			"ec3b9ba9 5d918bd1 83b70d3a a8bc6ee4 c309e9d8 5a41ad4a",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 3",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.key =
			"abbccdde f0011223 34455667 78899aab abbccdde f0011223\n"
			"34455667 78899aab 11223344",
		.plain =
			"45000030 69a64000 80062690 c0a80102 9389155e 0a9e008b\n"
			"2dc57ee0 00000000 70024000 20bf0000 020405b4 01010402\n"
			"01020201",
		.packet =
			"4a2cbfe3 00000002 01020304 05060708 ff425c9b 724599df\n"
			"7a3bcd51 0194e00d 6a78107f 1b0b1cbf 06efae9d 65a5d763\n"
			"748a6379 85771d34 7f054565 9f14e99d ef842d8e b335f4ee\n"
			"cfdbf831 824b4c49 15956c96",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 4",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.key =
			"00000000 00000000 00000000 00000000 00000000",
		.plain =
			"4500003c 99c50000 8001cb7a 40679318 01010101 0800075c\n"
			"02004400 61626364 65666768 696a6b6c 6d6e6f70 71727374\n"
			"75767761 62636465 66676869 01020201",
		.packet =
			"00000000 00000001 00000000 00000000 4688daf2 f973a392\n"
			"732909c3 31d56d60 f694abaa 414b5e7f f5fdcdff f5e9a284\n"
			"45647649 2719ffb6 4de7d9dc a1e1d894 bc3bd578 73ed4d18\n"
			"1d19d4d5 c8c18af3 f821d496 eeb096e9 8ad2b69e 4799c71d",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 5",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x10101010,
		.key =
			"3de09874 b388e649 1988d0c3 607eae1f 57690e43",
		.plain =
			"4500003c 99c30000 8001cb7c 40679318 01010101 0800085c\n"
			"02004300 61626364 65666768 696a6b6c 6d6e6f70 71727374\n"
			"75767761 62636465 66676869 01020201",
		.packet =
			"42f67e3f 10101010 4e280000 a2fca1a3 fba2caa4 853cf9f0\n"
			"f22cb10d 86dd83b0 fec75691 cf1a04b0 0d1138ec 9c357917\n"
			"65acbd87 01ad7984 5bf9fe3f ba487bc9 1755e666 2b4c8d0d\n"
			"1f5e2273 9530320a e0d731cc 978ecafa eae88f00 e80d6e48",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 6",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x10101010,
		.key =
			"3de09874 b388e649 1988d0c3 607eae1f 57690e43",
		.plain =
			"4500001c 42a20000 8001441f 406793b6 e0000002 0a00f5ff\n"
			"01020201",
		.packet =
			"42f67e3f 10101010 4e280000 a2fca1a3 fba2ca84 5e5df9f0\n"
			"f22c3e6e 86dd831e 1fc65792 cd1af913 0e1379ed 369f071f\n"
			"35e034be 95f112e4 e7d05d35",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 7",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.key =
			"feffe992 8665731c 6d6a8f94 67308308 feffe992 8665731c\n"
			"cafebabe",
		.plain =
			"45000028 a4ad4000 40067880 0a01038f 0a010612 802306b8\n"
			"cb712602 dd6bb03e 501016d0 75680001",
		.packet =
			"0000a5f8 0000000a facedbad decaf888 a5b1f806 6029aea4\n"
			"0e598b81 22de0242 0938b3ab 33f828e6 87b8858b 5bfbdbd0\n"
			"315b2745 2144cc77 95457b96 52037f53 18027b5b 4cd7a636",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 8",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x00000000,
		.key =
			"abbccdde f0011223 34455667 78899aab decaf888",
		.plain =
			"45000049 33ba0000 7f119106 c3fb1d10 c2b1d326 c02831ce\n"
			"0035dd7b 800302d5 00004e20 001e8c18 d75b81dc 91baa047\n"
			"6b91b924 b280389d 92c963ba c046ec95 9b6266c0 4722b149\n"
			"23010101",
		.packet =
			"00000100 00000001 cafedeba ceface74 18a6fd42 f72cbf4a\n"
			"b2a2ea90 1f73d814 e3e7f243 d95412e1 c349c1d2 fbec168f\n"
			"9190feeb af2cb019 84e65863 965d7472 b79da345 e0e78019\n"
			"1f0d2f0e 0f496c22 6f2127b2 7db35724 e7845d68 651f57e6\n"
			"5f354f75 ff170157 69623436",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 9",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x156f3126,
		.key =
			"abbccdde f0011223 34455667 78899aab abbccdde f0011223\n"
			"34455667 78899aab 73616c74",
		.plain =
			"45080028 732c0000 4006e9f9 0a010612 0a01038f 06b88023\n"
			"dd6bafbe cb712602 50101f64 6d540001",
		.packet =
			"17405e67 dd0db99b 616e6401 69766563 f2d69ecd bd5a0d5b\n"
			"8d5ef38b ad4da58d 1f278fde 98ef6754 9d524a30 18d9a57f\n"
			"f4d3a31c e673119e 451626c2 415771e3 b7eebca6 14c89b35",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 10",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x10101010,
		.key =
			"3de09874 b388e649 1988d0c3 607eae1f 57690e43",
		.plain =
			"45000049 333e0000 7f119182 c3fb1d10 c2b1d326 c02831ce\n"
			"0035cb45 8003025b 000001e0 001e8c18 d65759d5 2284a035\n"
			"2c71475c 8880391c 764d6e5e e0496b32 5ae270c0 38994939\n"
			"15010101",
		.packet =
			"42f67e3f 10101010 4e280000 a2fca1a3 fba2cad1 2fc1f9f0\n"
			"0d3cebf3 05410db8 3d7784b6 07323d22 0f24b0a9 7d541828\n"
			"00cadb0f 68d99ef0 e0c0c89a e9bea888 4e52d65b c1afd074\n"
			"0f742444 747b5b39 ab533163 aad4550e e5160975 cdb608c5\n"
			"76918960 9763b8e1 8caa81e2",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 11",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x156f3126,
		.key =
			"abbccdde f0011223 34455667 78899aab abbccdde f0011223\n"
			"34455667 78899aab 73616c74",
		.plain =
			"63697363 6f017275 6c657301 74686501 6e657477 65016465\n"
			"66696e65 01746865 74656368 6e6f6c6f 67696573 01746861\n"
			"7477696c 6c016465 66696e65 746f6d6f 72726f77 01020201",
		.packet =
			"17405e67 dd0db99b 616e6401 69766563 d4b7ed86 a1777f2e\n"
			"a13d6973 d324c69e 7b43f826 fb568312 26508beb d2dceb18\n"
			"d0a6df10 e5487df0 74113e14 c641024e 3e6773d9 1a62ee42\n"
			"9b043a10 e3efe6b0 12a49363 412364f8 c0cac587 f249e56b\n"
			"11e24f30 e44ccc76",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 12",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.key =
			"7d773d00 c144c525 ac619d18 c84a3f47 d9664267",
		.plain =
			"01020201",
		.packet =
			"335467ae ffffffff 43457e91 82443bc6 437f866b cb3f699f\n"
			"e9b0822b ac961c45 04bef270",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 13",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x00000000,
		.key =
			"abbccdde f0011223 34455667 78899aab decaf888",
		.plain =
			"746f0162 65016f72 016e6f74 01746f01 62650001",
		.packet =
			"00000100 00000001 cafedeba ceface74 29c9fc69 a197d038\n"
			"ccdd14e2 ddfcaa05 43332164 41250352 4303ed3c 6c5f2838\n"
			"43af8c3e",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 14",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0xffffffff,
		.key =
			"6c656761 6c697a65 6d617269 6a75616e 61616e64 646f6974\n"
			"6265666f 72656961 7475726e",
		.plain =
			"45000030 da3a0000 8001df3b c0a80005 c0a80001 0800c6cd\n"
			"02000700 61626364 65666768 696a6b6c 6d6e6f70 71727374\n"
			"01020201",
		.packet =
			"796b6963 ffffffff 33302169 6765746d f97ab2aa 356d8edc\n"
			"e17644ac 8c78e25d d24dedbb 29ebf1b6 4a274b39 b49c3a86\n"
			"4cd3d78c a4ae68a3 2b42458f b57dbe82 1dcc63b9 d0937ba2\n"
			"945f6693 68661a32 9fb4c053",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, case 15",
		.alg = "rfc4543(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.key =
			"4c80cdef bb5d10da 906ac73c 3613a634 22433c64",
		.plain =
			"45000030 da3a0000 8001df3b c0a80005 c0a80001 0800c6cd\n"
			"02000700 61626364 65666768 696a6b6c 6d6e6f70 71727374\n"
			"01020201",
		.packet =
			"00004321 00000007 00000000 00000000 45000030 da3a0000\n"
			"8001df3b c0a80005 c0a80001 0800c6cd 02000700 61626364\n"
			"65666768 696a6b6c 6d6e6f70 71727374 01020201 f2a9a836\n"
			"e155106a a8dcd618 e4099aaa",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, SPI 3f7ef642",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x10101010,
		.key =
			"3de09874 b388e649 1988d0c3 607eae1f 57690e43",
		.plain =
			"45000030 da3a0000 8001df3b c0a80005 c0a80001 0800c6cd\n"
			"02000700 61626364 65666768 696a6b6c 6d6e6f70 71727374\n"
			"01020201",
		.packet =
			"3f7ef642 10101010 4e280000 a2fca1a3 fba2caa8 c6c5f9f0\n"
			"f22ca54a 061210ad 3f6e5791 cf1aca21 0d117cec 9c357917\n"
			"65acbd87 01ad7984 5bf9fe3f ba487bc9 63219306 84eecadb\n"
			"56912546 e7a95c97 40d7cb05",
	},
	{
		.name = "draft-mcgrew-gcm-test-01 section 4, SPI 00004321",
		.alg = "rfc4106(gcm(aes))",
		.ivlen = 8,
		.icvlen = 16,
		.esn = true,
		.seq_high = 0x87654321,
		.key =
			"4c80cdef bb5d10da 906ac73c 3613a634 22433c64",
		.plain =
			"0800c6cd 02000700 61626364 65666768 696a6b6c 6d6e6f70\n"
			"71727374 01020201",
		.packet =
			"00004321 00000007 4855ec7d 3a234bfd 74752e8a eb5d873c\n"
			"d7c0f4ac c36c4bff 84b7d7b9 8f0ca8b6 acda6894 bc619069\n"
			"ef9cbc28 fe1b56a7 c4e0d58c 86cd2bc0",
	},
	{
		.name = "RFC 7634 appendix A",
		.alg = "rfc7539esp(chacha20,poly1305)",
		.ivlen = 8,
		.icvlen = 16,
		.key =
			"80818283 84858687 88898a8b 8c8d8e8f 90919293 94959697\n"
			"98999a9b 9c9d9e9f a0a1a2a3",
		.plain =
			"45000054 a6f20000 4001e778 c6336405 c0000205 08005b7a\n"
			"3a080000 553bec10 00073627 08090a0b 0c0d0e0f 10111213\n"
			"14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b\n"
			"2c2d2e2f 30313233 34353637 01020204",
		.packet =
			"01020304 00000005 10111213 14151617 24039428 b97f417e\n"
			"3c13753a 4f05087b 67c352e6 a7fab1b9 82d466ef 407ae5c6\n"
			"14ee8099 d52844eb 61aa95df ab4c02f7 2aa71e7c 4c4f64c9\n"
			"befe2fac c638e8f3 cbec163f ac469b50 2773f6fb 94e664da\n"
			"9165b828 29f641e0 76aaa826 6b7fb0f7 b11b3699 07e1ad43",
	},
};

#endif /* _IPSEC_V3_KUNIT_VECTORS_H */
